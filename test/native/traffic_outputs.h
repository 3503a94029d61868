// Finds the outputs of an op by calling its `describe`, so that their traffic is counted too.
#pragma once
#include "../../native/cpu/kernels.h"
#include "traffic_runtime.h"

namespace pixelcnn::test {

class OutputVisitor {
 public:
  explicit OutputVisitor(const cpu::Kernels& kernels) : kernels_(kernels) {}

  template <class... Field>
  void number(const char*, const Field&...) {}
  template <class... Field>
  void choice(const char*, const Field&...) {}
  void precision(const char*, Precision) {}
  void require(bool, const char*) {}
  template <class Body>
  void each(const char*, int32_t count, const Body& body) {
    for (int32_t i = 0; i < count; ++i) body(i);
  }

  template <class... Field>
  void input(const char*, const Field&...) {}
  template <class... Field>
  void optional_input(const char*, const Field&...) {}
  template <class... Field>
  void activation_input(const char*, const Field&...) {}
  template <class... Field>
  void optional_activation_input(const char*, const Field&...) {}
  template <class... Field>
  void packed_input(const char*, const Field&...) {}
  template <class... Field>
  void optional_packed_input(const char*, const Field&...) {}

  template <class T>
  void output(const char*, T* tensor, int64_t count) {
    if (tensor) follow_output(tensor, count, sizeof(T));
  }
  template <class T>
  void optional_output(const char* name, T* tensor, int64_t count) {
    output(name, tensor, count);
  }
  template <class T>
  void in_out(const char* name, T* tensor, int64_t count) {
    output(name, tensor, count);
  }
  void activation_output(const char*, void* tensor, int64_t count, Precision precision) {
    if (tensor) follow_output(tensor, count, element_bytes(precision));
  }
  void optional_activation_output(const char* name, void* tensor, int64_t count, Precision precision) {
    activation_output(name, tensor, count, precision);
  }
  void activation_in_out(const char* name, void* tensor, int64_t count, Precision precision) {
    activation_output(name, tensor, count, precision);
  }
  void packed_output(const char* name, void* tensor, const FilterShape& shape, Direction direction) {
    output(name, static_cast<uint32_t*>(tensor), kernels_.packed_bytes(shape, direction) / 4);
  }

 private:
  const cpu::Kernels& kernels_;
};

}  // namespace pixelcnn::test
