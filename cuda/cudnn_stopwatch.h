// Times work on a stream of its own, with memory of its own, to choose between ways of computing the same.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <functional>

#include "check.h"

namespace pixelcnn::cuda {

class Stopwatch {
 public:
  Stopwatch();
  ~Stopwatch();
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  // At least so many bytes, filled with small finite numbers of any element type; null if the device has not
  // so much left.
  std::byte* memory(int64_t bytes);

  // The shortest of a few runs after one that does not count, in milliseconds. Stops after the first that
  // takes longer than `limit`.
  float time(const std::function<void(cudaStream_t)>& enqueue, float limit);

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  std::byte* memory_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace pixelcnn::cuda
