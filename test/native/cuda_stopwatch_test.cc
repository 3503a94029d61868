// Tests the times that the stopwatch measures on the emulated GPU, where host and device have model
// clocks.
// Usage: cuda_stopwatch_test
#include <cmath>

#include "../../cuda/check.h"
#include "../../cuda/cudnn/stopwatch.h"
#include "../../cuda/gpu.h"
#include "cudnn_check.h"

namespace pixelcnn::test {
namespace {

using namespace cuda;

Checks check;

void nothing() {}

// So many kernels, of 5 microseconds on the device; to launch one takes the host 20.
float time_of(int kernels) {
  emulator::options.host_nanoseconds = 20'000;
  emulator::options.device_nanoseconds = 5'000;
  Stopwatch stopwatch;
  return 1000 * stopwatch.time(
                    [&](cudaStream_t stream) {
                      for (int i = 0; i < kernels; ++i) LAUNCH(nothing, 1, 1, 0, stream)();
                    },
                    1e9F);
}

void test_time() {
  for (const int kernels : {1, 4, 100}) {
    const float microseconds = time_of(kernels), expected = 5.0F * static_cast<float>(kernels);
    check(std::abs(microseconds - expected) <= 0.5F * expected,
          std::to_string(kernels) + " kernels take the device " + std::to_string(expected) +
              " us, whatever the host takes: " + std::to_string(microseconds));
  }
}

void test_refusal() {
  emulator::options.refused_capture_launch = 1;
  try {
    time_of(1);
    check(false, "work that cannot be captured has no time");
  } catch (const Error& error) {
    check(error.code() == "ERR_CUDNN", "work that cannot be captured is passed over: " + error.code());
  }
  emulator::options.refused_capture_launch = 0;
  check(time_of(1) > 0, "the next one is timed");
}

// What was created before a creation that fails is given back.
void test_failed_creation() {
  check(emulator::live_handles() == 0, "stopwatches give back their stream and events");
  emulator::options.refused_call = "cudaEventCreateWithFlags";
  try {
    Stopwatch stopwatch;
    check(false, "a stopwatch without events");
  } catch (const Error&) {
  }
  emulator::options.refused_call = nullptr;
  check(emulator::live_handles() == 0, "and so does one that fails half-way");
}

}  // namespace
}  // namespace pixelcnn::test

int main() {
  using namespace pixelcnn::test;
  test_time();
  test_refusal();
  test_failed_creation();
  return check.finish();
}
