// Streams, events and the model clock. Work is done as it is enqueued.
#include <algorithm>
#include <memory>
#include <utility>

#include "runtime.h"
#include "stream.h"

namespace emulator {

namespace {

// Never destroyed, as the runtime.
EmulatedStream& default_stream() {
  static EmulatedStream* const instance = std::make_unique<EmulatedStream>().release();
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

// The host has waited until then.
void wait_until(uint64_t time) { host_time = std::max(host_time, time); }

}  // namespace

cudaError_t check_default_stream(cudaStream_t stream) {
  if (stream != nullptr || !spoil_captures(InCapture::kForbidden)) return cudaSuccess;
  return refuse(cudaErrorStreamCaptureUnsupported, "the default stream is used while another captures");
}

cudaError_t enqueue(cudaStream_t stream, Work work) {
  const cudaError_t status = check_default_stream(stream);
  if (status != cudaSuccess) return status;
  return captures(stream) ? record(*stream->capture, std::move(work)) : work.run();
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

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return call(__func__, InCapture::kAllowed, [&] {
    *stream = std::make_unique<EmulatedStream>().release();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (emulator::captures(stream)) emulator::abandon_capture(*stream);
    std::unique_ptr<EmulatedStream>{stream}.reset();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call(__func__, InCapture::kUnsafe, [&] {
    const cudaError_t status = emulator::check_wait(stream);
    if (status == cudaSuccess) emulator::wait_until(emulator::stream_of(stream).time);
    return status;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return call(__func__, InCapture::kUnsafe, [&] { return emulator::check_wait(stream); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call(__func__, InCapture::kAllowed, [&] {
    *event = std::make_unique<EmulatedEvent>(EmulatedEvent{(flags & cudaEventDisableTiming) == 0}).release();
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::unique_ptr<EmulatedEvent>{event}.reset();
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed, [&] {
    const cudaError_t status = emulator::check_default_stream(stream);
    if (status != cudaSuccess) return status;
    event->capture = emulator::captures(stream) ? stream->capture : nullptr;
    event->recorded = event->capture == nullptr;
    event->time = emulator::time_after(stream, 0);
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call(__func__, InCapture::kUnsafe, [&] {
    const cudaError_t status = emulator::check_wait(*event);
    if (status == cudaSuccess) emulator::wait_until(event->time);
    return status;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call(__func__, InCapture::kUnsafe, [&] { return emulator::check_wait(*event); });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  return call(__func__, InCapture::kAllowed, [&] {
    for (const cudaEvent_t event : {begin, end}) {
      if (!event->timed) return refuse(cudaErrorInvalidResourceHandle, "an event was made without timing");
      if (!event->recorded) return refuse(cudaErrorInvalidResourceHandle, "an event was never recorded");
    }
    const auto nanoseconds = static_cast<int64_t>(end->time - begin->time);
    *milliseconds = static_cast<float>(static_cast<double>(nanoseconds) * 1e-6);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call(__func__, InCapture::kForbidden, [] {
    emulator::wait_until(emulator::device_time);
    return cudaSuccess;
  });
}
