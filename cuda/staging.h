// Copies between host and device through pinned memory, with fences that say when the copies are done.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "handles.h"

namespace pixelcnn::cuda {

// All copies are ordered with the other work of the stream. The host waits for them only in `wait`, so the
// next step can be enqueued while one is running.
class Staging {
 public:
  explicit Staging(cudaStream_t stream) : stream_(stream) {}

  void write(void* device, const void* host, int64_t bytes);
  // `host` is filled when `wait` returns for the next fence.
  void read(void* host, const void* device, int64_t bytes);

  uint64_t fence();
  bool reached(uint64_t fence) const;
  void wait(uint64_t fence);
  // Drops the reads since the last fence, because their call has failed and nobody will wait for them.
  void abandon() { open_.deliveries.clear(); }

 private:
  struct Block {
    PinnedMemory memory;
    int64_t bytes;
  };
  // A read whose bytes `wait` copies from pinned memory to the host's.
  struct Delivery {
    void* host;
    const std::byte* staged;
    int64_t bytes;
  };
  // All copies before one fence and after the fence before it.
  struct Mark {
    uint64_t id = 0;
    Event event;
    std::vector<Block> blocks;  // in use until the mark is reached
    std::vector<Delivery> deliveries;
  };

  std::byte* take_block(int64_t bytes);

  cudaStream_t stream_;
  uint64_t last_ = 0;
  int64_t open_bytes_ = 0;
  Mark open_;                // what the next fence will cover
  std::deque<Mark> marks_;   // in order; not reached yet
  std::vector<Block> free_;  // can be reused
  std::vector<Event> events_;
};

}  // namespace pixelcnn::cuda
