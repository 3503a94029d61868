// Times work on a separate stream and separate memory, to choose the fastest way to compute an op.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

#include "../handles.h"

namespace pixelcnn::cuda {

class Stopwatch {
 public:
  Stopwatch();

  // Returns at least this many bytes, filled with numbers that are small and finite in every element type.
  // Returns null if the device does not have enough memory left.
  std::byte* memory(int64_t bytes);

  // Returns the device's time, in milliseconds, for the work that `enqueue` enqueues: the shortest of a
  // few runs, after one that does not count. May stop early if it takes longer than `limit`. The work is
  // captured and launched as a graph, as in training, so that the host's time to enqueue it, which
  // dominates for small shapes, is not measured. Throws ERR_CUDNN for work that cannot be captured.
  float time(const std::function<void(cudaStream_t)>& enqueue, float limit);

 private:
  GraphExecutable capture(const std::function<void(cudaStream_t)>& enqueue, int times);
  template <class Work>
  float measure(const Work& work);

  Stream stream_;
  Event begin_, end_;
  DeviceMemory memory_;
  int64_t bytes_ = 0;
};

}  // namespace pixelcnn::cuda
