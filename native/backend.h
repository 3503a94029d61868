// What a backend provides: memory, copies, and one function per op of the op table.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "ops.h"

namespace pixelcnn {

struct BackendInfo {
  std::string backend;          // "cpu" or "cuda"
  std::string name;             // of the processor
  std::string instruction_set;  // CPU kernels in use
  int threads = 1;
};

// All functions but `info` and `packed_bytes` are called on the device's executor thread only. A `run` only
// enqueues or computes: no allocation, no host read.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const = 0;

  virtual void* allocate(int64_t bytes) = 0;  // zeroed; throws ERR_OUT_OF_MEMORY
  virtual void release(void* memory) = 0;
  virtual void write(void* device, const void* host, int64_t bytes) = 0;
  virtual void read(void* host, const void* device, int64_t bytes) = 0;
  virtual void reserve_workspace(int64_t bytes) = 0;
  virtual void close() = 0;  // gives back threads and workspace; nothing runs after it

  virtual int64_t packed_bytes(const MaskedConv2dShape& shape, Direction direction) const = 0;
#define PIXELCNN_X(Op)                               \
  virtual int64_t workspace(const Op& op) const = 0; \
  virtual void run(const Op& op) = 0;
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

// One block of device memory. Holds its backend, so memory is returned before the backend goes.
class Arena {
 public:
  Arena(std::shared_ptr<Backend> backend, int64_t bytes)
      : backend_(std::move(backend)),
        data_(static_cast<std::byte*>(backend_->allocate(bytes))),
        bytes_(bytes) {}
  ~Arena() { free(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Returns the memory early, when the device closes. No run may follow.
  void free() {
    if (data_ != nullptr) backend_->release(data_);
    data_ = nullptr;
  }

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const std::shared_ptr<Backend>& backend() const { return backend_; }

 private:
  std::shared_ptr<Backend> backend_;
  std::byte* data_;
  int64_t bytes_;
};

}  // namespace pixelcnn
