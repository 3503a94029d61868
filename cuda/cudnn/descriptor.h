// Wraps a backend descriptor of cuDNN: destroys it with its owner, and sets and reads its attributes as
// C++ types.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../../native/error.h"
#include "api.h"

namespace pixelcnn::cuda {

// Throws ERR_CUDNN with the call, the status and cuDNN's own message, unless the status is success.
inline void check_cudnn(const CudnnApi& api, cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char words[512] = "";
  api.cudnnGetLastErrorString(words, sizeof words);
  throw Error("ERR_CUDNN", std::string(call) + ": " + api.cudnnGetErrorString(status) + " (" +
                               std::to_string(static_cast<int>(status)) + ") " + words);
}

class Descriptor {
 public:
  Descriptor(const CudnnApi& api, cudnnBackendDescriptorType_t type) : api_(&api) {
    check_cudnn(api, api.cudnnBackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor");
  }
  ~Descriptor() {
    if (descriptor_ != nullptr) static_cast<void>(api_->cudnnBackendDestroyDescriptor(descriptor_));
  }
  Descriptor(Descriptor&& other) noexcept
      : api_(other.api_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values) {
    check_cudnn(*api_, api_->cudnnBackendSetAttribute(descriptor_, name, type, count, values),
                "cudnnBackendSetAttribute");
  }
  void set(cudnnBackendAttributeName_t name, int64_t value) { set(name, CUDNN_TYPE_INT64, 1, &value); }
  void set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
    set(name, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  void set(cudnnBackendAttributeName_t name, float value) { set(name, CUDNN_TYPE_FLOAT, 1, &value); }
  void set(cudnnBackendAttributeName_t name, bool value) { set(name, CUDNN_TYPE_BOOLEAN, 1, &value); }
  void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
  }
  void set(cudnnBackendAttributeName_t name, const std::string& text) {
    set(name, CUDNN_TYPE_CHAR, static_cast<int64_t>(text.size()) + 1, text.c_str());
  }

  // Fills `values` and returns their number. With capacity 0, returns the largest possible number.
  int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t capacity,
              void* values) const {
    int64_t count = 0;
    check_cudnn(*api_, api_->cudnnBackendGetAttribute(descriptor_, name, type, capacity, &count, values),
                "cudnnBackendGetAttribute");
    return count;
  }
  int64_t get_int64(cudnnBackendAttributeName_t name) const {
    int64_t value = 0;
    get(name, CUDNN_TYPE_INT64, 1, &value);
    return value;
  }

  void finalize() { check_cudnn(*api_, api_->cudnnBackendFinalize(descriptor_), "cudnnBackendFinalize"); }

 private:
  const CudnnApi* api_;
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace pixelcnn::cuda
