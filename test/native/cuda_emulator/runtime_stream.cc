// Emulates streams, events and the model clock.
#include <algorithm>
#include <memory>
#include <utility>

#include "runtime.h"
#include "stream.h"

namespace emulator {

namespace {

// Never destroyed, as the runtime.
EmulatedStream& default_stream() {
  static const auto& instance =
      *std::make_unique<std::shared_ptr<EmulatedStream>>(std::make_shared<EmulatedStream>()).release();
  return *instance;
}
EmulatedStream& stream_of(cudaStream_t stream) { return stream != nullptr ? *stream : default_stream(); }

uint64_t host_time = 0, device_time = 0;  // of the model clock; the device's is that of its latest stream

// Nothing of a stream begins before the host enqueues it.
uint64_t time_after(cudaStream_t stream, uint64_t nanoseconds) {
  uint64_t& time = stream_of(stream).time;
  time = std::max(time, host_time) + nanoseconds;
  device_time = std::max(device_time, time);
  return time;
}

// What a stream captures is not going to run: no thread may wait for it or ask whether it is done.
cudaError_t check_wait(cudaStream_t stream) {
  if (!captures(stream)) return check_default_stream(stream);
  stream->capture->spoiled = true;
  return refuse(cudaErrorStreamCaptureUnsupported, "the stream is waited for or queried while it captures");
}
cudaError_t check_wait(const EmulatedEvent& event) {
  if (event.capture == nullptr) return cudaSuccess;
  event.capture->spoiled = true;
  return cudaErrorCapturedEvent;
}

// An event that was never recorded is.
bool is_reached(const EmulatedEvent& event) {
  return event.stream == nullptr || event.stream->done >= event.position;
}

// The host has waited until then.
void wait_until(uint64_t time) { host_time = std::max(host_time, time); }

}  // namespace

int live_handles() {
  std::lock_guard lock(runtime().mutex);
  return runtime().handles;
}

cudaError_t check_default_stream(cudaStream_t stream) {
  if (stream != nullptr || !spoil_captures(InCapture::kForbidden)) return cudaSuccess;
  return refuse(cudaErrorStreamCaptureUnsupported, "the default stream is used while another captures");
}

cudaError_t enqueue(cudaStream_t stream, std::vector<Work> work) {
  const cudaError_t status = check_default_stream(stream);
  if (status != cudaSuccess) return status;
  if (captures(stream)) return record(*stream->capture, std::move(work));
  add_work(stream_of(stream), std::move(work));
  return cudaSuccess;
}

void finish(cudaStream_t stream) {
  const EmulatedStream& emulated = stream_of(stream);
  run_until(emulated, emulated.enqueued);
  wait_until(emulated.time);
}

void take_time(cudaStream_t stream, uint64_t kernels) {
  if (captures(stream)) return;
  host_time += options.host_nanoseconds;
  time_after(stream, kernels * options.device_nanoseconds);
}

}  // namespace emulator

using emulator::call;
using emulator::InCapture;
using emulator::refuse;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (flags != cudaStreamNonBlocking)
      return refuse(cudaErrorInvalidValue, "streams that wait for the default stream are not emulated");
    const auto made = std::make_shared<EmulatedStream>();
    made->self = made;
    *stream = made.get();
    ++emulator::runtime().handles;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (emulator::captures(stream)) emulator::abandon_capture(*stream);
    std::exchange(stream->self, nullptr).reset();
    --emulator::runtime().handles;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call(__func__, InCapture::kUnsafe, [&] {
    const cudaError_t status = emulator::check_wait(stream);
    if (status == cudaSuccess) emulator::finish(stream);
    return status;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call(__func__, InCapture::kUnsafe, [&] {
    const cudaError_t status = emulator::check_wait(stream);
    if (status != cudaSuccess) return status;
    emulator::run_some(2);
    return emulator::stream_of(stream).pending.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call(__func__, InCapture::kAllowed, [&] {
    *event = std::make_unique<EmulatedEvent>(EmulatedEvent{(flags & cudaEventDisableTiming) == 0}).release();
    ++emulator::runtime().handles;
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::unique_ptr<EmulatedEvent>{event}.reset();
    --emulator::runtime().handles;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed, [&] {
    const cudaError_t status = emulator::check_default_stream(stream);
    if (status != cudaSuccess) return status;
    auto& emulated = emulator::stream_of(stream);
    event->capture = emulated.capture;
    event->stream = emulated.capture == nullptr ? emulated.shared_from_this() : nullptr;
    event->position = emulated.enqueued;
    event->time = emulator::time_after(stream, 0);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call(__func__, InCapture::kUnsafe, [&] {
    const cudaError_t status = emulator::check_wait(*event);
    if (status != cudaSuccess || event->stream == nullptr) return status;
    emulator::run_until(*event->stream, event->position);
    emulator::wait_until(event->time);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call(__func__, InCapture::kUnsafe, [&] {
    const cudaError_t status = emulator::check_wait(*event);
    if (status != cudaSuccess) return status;
    emulator::run_some(2);
    return emulator::is_reached(*event) ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return call(__func__, InCapture::kAllowed, [&] {
    for (const cudaEvent_t event : {begin, end}) {
      if (!event->timed) return refuse(cudaErrorInvalidResourceHandle, "an event was made without timing");
      if (event->stream == nullptr)
        return refuse(cudaErrorInvalidResourceHandle, "an event was never recorded");
      if (!emulator::is_reached(*event)) return cudaErrorNotReady;
    }
    const auto nanoseconds = static_cast<int64_t>(end->time - begin->time);
    *milliseconds = static_cast<float>(static_cast<double>(nanoseconds) * 1e-6);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call(__func__, InCapture::kForbidden, [] {
    emulator::run_all();
    emulator::wait_until(emulator::device_time);
    return cudaSuccess;
  });
}
