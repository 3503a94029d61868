// Times work on a stream of its own, with memory of its own, to choose between ways of computing the same.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

#include "../handles.h"

namespace pixelcnn::cuda {

class Stopwatch {
 public:
  Stopwatch();

  // At least so many bytes, filled with small finite numbers of any element type; null if the device has not
  // so much left.
  std::byte* memory(int64_t bytes);

  // The device's time for the work that `enqueue` enqueues, in milliseconds: the shortest of a few runs after
  // one that does not count. May stop early where it takes longer than `limit`. The work is captured and
  // launched as a graph, as in training; what the host does to enqueue it would be most of the time for small
  // shapes, and is not in it. Throws ERR_CUDNN for work that cannot be captured.
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
