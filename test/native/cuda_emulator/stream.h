// Defines the emulated runtime's streams, events and captures.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
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
// Adds to the stream's work, or records it where the stream captures.
cudaError_t enqueue(cudaStream_t stream, std::vector<Work> work);
// Waits until the stream has done all that it was given.
void finish(cudaStream_t stream);
// The model clock, where a launch of so many kernels goes to the stream. While it captures, time stands
// still.
void take_time(cudaStream_t stream, uint64_t kernels);

bool captures(cudaStream_t stream);
cudaError_t record(Capture& capture, std::vector<Work> work);
// The capture is over, and gives no graph.
void abandon_capture(EmulatedStream& stream);

// ---- the queues ----
void add_work(EmulatedStream& stream, std::vector<Work> work);
// Until so much of the stream's work is done, all work is done, or by chance: with a probability of 1 /
// one_in, a random part of it.
void run_until(const EmulatedStream& stream, uint64_t position);
void run_all();
void run_some(size_t one_in);
void forget_work();

}  // namespace emulator

struct EmulatedStream : std::enable_shared_from_this<EmulatedStream> {
  std::shared_ptr<emulator::Capture> capture;
  uint64_t time = 0;  // of the model clock, when all that was enqueued is done
  std::deque<emulator::Work> pending;
  uint64_t enqueued = 0, done = 0;       // how much work
  std::shared_ptr<EmulatedStream> self;  // until it is destroyed; then its work keeps it
};
struct EmulatedEvent {
  bool timed;
  std::shared_ptr<EmulatedStream> stream = nullptr;      // that it was recorded in last; null: in none
  uint64_t position = 0, time = 0;                       // of that stream, then
  std::shared_ptr<emulator::Capture> capture = nullptr;  // that it was recorded in
};
