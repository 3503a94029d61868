// Runs the cases of the emulator's test, with device buffers, random numbers, and the outcome that each
// case must have.
#pragma once
#include <cstdint>
#include <cstdio>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../../../cuda/check.h"
#include "emulator.h"

namespace emulator_test {

template <class T>
class Buffer {
 public:
  explicit Buffer(size_t count, const char* name) : count_(count) {
    PIXELCNN_CUDA(cudaMalloc(&data_, count * sizeof(T)));
    emulator::name_memory(data_, name);
  }
  Buffer(const std::vector<T>& values, const char* name) : Buffer(values.size(), name) {
    PIXELCNN_CUDA(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Buffer() { static_cast<void>(cudaFree(data_)); }
  Buffer(const Buffer&) = delete;
  operator T*() const { return data_; }
  std::vector<T> read() const {
    PIXELCNN_CUDA(cudaGetLastError());
    std::vector<T> values(count_);
    PIXELCNN_CUDA(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t count_;
};

class Stream {
 public:
  Stream() { PIXELCNN_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { static_cast<void>(cudaStreamDestroy(stream_)); }
  Stream(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  explicit Event(unsigned flags = 0) { PIXELCNN_CUDA(cudaEventCreateWithFlags(&event_, flags)); }
  ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int integer(int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine_); }

 private:
  std::mt19937_64 engine_;
};

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("wrong result: " + what);
}

// Counts what passes and fails.
class Cases {
 public:
  // The body must end without an error, or, where `expected` is not empty, with one that contains it.
  void run(const std::string& name, const std::string& expected, const std::function<void()>& body) {
    std::string message;
    try {
      body();
      PIXELCNN_CUDA(cudaDeviceSynchronize());
      PIXELCNN_CUDA(cudaGetLastError());
    } catch (const std::exception& error) {
      message = error.what();
    }
    PIXELCNN_CUDA(cudaDeviceReset());
    const bool passed = expected.empty() ? message.empty() : message.find(expected) != std::string::npos;
    ++(passed ? passed_ : failed_);
    if (passed) return;
    std::printf("FAILED %s\n  expected: %s\n  got:      %s\n", name.c_str(),
                expected.empty() ? "no error" : expected.c_str(),
                message.empty() ? "no error" : message.c_str());
  }
  int finish() const {
    std::printf("%d passed, %d failed\n", passed_, failed_);
    return failed_ == 0 ? 0 : 1;
  }

 private:
  int passed_ = 0, failed_ = 0;
};

// Errors, capture and graphs; the model clock; work that is done later.
void run_runtime(Cases& cases);
void run_clock(Cases& cases);
void run_deferred(Cases& cases);

}  // namespace emulator_test
