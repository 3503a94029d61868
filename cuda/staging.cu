// Copies through pinned memory. Each copy takes a block of it and returns the block after a later fence
// has been reached.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "check.h"
#include "staging.h"

namespace pixelcnn::cuda {

namespace {
// Larger copies do not use our pinned memory: CUDA stages them itself, and the host waits.
constexpr int64_t kLargest = int64_t{32} << 20;
// A host that only writes must wait once this many bytes are staged.
constexpr int64_t kMostOpen = int64_t{128} << 20;
}  // namespace

void Staging::write(void* device, const void* host, int64_t bytes) {
  if (bytes == 0) return;
  if (bytes > kLargest) {
    PIXELCNN_CUDA(cudaMemcpyAsync(device, host, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_));
    PIXELCNN_CUDA(cudaStreamSynchronize(stream_));
    return;
  }
  if (open_bytes_ + bytes > kMostOpen) wait(fence());
  std::byte* staged = take_block(bytes);
  std::memcpy(staged, host, static_cast<size_t>(bytes));
  PIXELCNN_CUDA(cudaMemcpyAsync(device, staged, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_));
}

void Staging::read(void* host, const void* device, int64_t bytes) {
  if (bytes == 0) return;
  if (bytes > kLargest) {
    PIXELCNN_CUDA(cudaMemcpyAsync(host, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_));
    PIXELCNN_CUDA(cudaStreamSynchronize(stream_));
    return;
  }
  std::byte* staged = take_block(bytes);
  PIXELCNN_CUDA(cudaMemcpyAsync(staged, device, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_));
  open_.deliveries.push_back({host, staged, bytes});
}

uint64_t Staging::fence() {
  if (events_.empty()) {
    cudaEvent_t event = nullptr;
    // With blocking synchronisation the executor thread sleeps while the device works.
    PIXELCNN_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync));
    events_.emplace_back(event);
  }
  PIXELCNN_CUDA(cudaEventRecord(events_.back().get(), stream_));
  open_.event = std::move(events_.back());
  events_.pop_back();
  open_.id = ++last_;
  marks_.push_back(std::exchange(open_, {}));
  open_bytes_ = 0;
  return last_;
}

bool Staging::reached(uint64_t fence) const {
  const auto mark = std::find_if(marks_.begin(), marks_.end(), [&](const Mark& m) { return m.id >= fence; });
  if (mark == marks_.end()) return true;
  const cudaError_t status = cudaEventQuery(mark->event.get());
  if (status == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());  // CUDA keeps cudaErrorNotReady as if it were an error
    return false;
  }
  check_cuda(status, "cudaEventQuery");
  return true;
}

void Staging::wait(uint64_t fence) {
  while (!marks_.empty() && marks_.front().id <= fence) {
    Mark mark = std::move(marks_.front());
    marks_.pop_front();
    PIXELCNN_CUDA(cudaEventSynchronize(mark.event.get()));
    for (const Delivery& delivery : mark.deliveries) {
      std::memcpy(delivery.host, delivery.staged, static_cast<size_t>(delivery.bytes));
    }
    std::move(mark.blocks.begin(), mark.blocks.end(), std::back_inserter(free_));
    events_.push_back(std::move(mark.event));
  }
}

std::byte* Staging::take_block(int64_t bytes) {
  const auto fits = std::find_if(free_.begin(), free_.end(), [&](const Block& block) {
    return block.bytes >= bytes && block.bytes <= 4 * bytes + 4096;
  });
  if (fits != free_.end()) {
    open_.blocks.push_back(std::move(*fits));
    free_.erase(fits);
  } else {
    // Free blocks of other sizes would add up as the sizes of copies change.
    if (free_.size() > 16) free_.clear();
    void* memory = nullptr;
    PIXELCNN_CUDA(cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocDefault));
    open_.blocks.push_back({PinnedMemory(static_cast<std::byte*>(memory)), bytes});
  }
  open_bytes_ += bytes;
  return open_.blocks.back().memory.get();
}

}  // namespace pixelcnn::cuda
