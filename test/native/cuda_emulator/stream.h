// Streams, events and captures as the emulated runtime keeps them.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace emulator {

// What a stream does at one time: a kernel, a copy or a fill.
struct Work {
  std::function<cudaError_t()> run;
  bool kernel = false;
};

struct Capture {
  std::vector<Work> nodes;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  int kernels = 0;
  bool spoiled = false;
};

// Refuses the default stream while another captures.
cudaError_t check_default_stream(cudaStream_t stream);
// Does the work, or records it where the stream captures.
cudaError_t enqueue(cudaStream_t stream, Work work);
// The model clock, where a launch of so many kernels goes to the stream. While it captures, time stands
// still.
void take_time(cudaStream_t stream, uint64_t kernels);

bool captures(cudaStream_t stream);
cudaError_t record(Capture& capture, Work work);
// The capture is over, and gives no graph.
void abandon_capture(EmulatedStream& stream);

}  // namespace emulator

struct EmulatedStream {
  std::shared_ptr<emulator::Capture> capture;
  uint64_t time = 0;  // of the model clock, when all that was enqueued is done
};
struct EmulatedEvent {
  bool timed;
  bool recorded = false;
  uint64_t time = 0;                                     // of the stream that it was recorded in
  std::shared_ptr<emulator::Capture> capture = nullptr;  // that it was recorded in
};
