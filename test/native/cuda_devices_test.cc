// Tests two devices on one emulated GPU, as two workers of a process may have: neither may disturb the
// other.
// Usage: cuda_devices_test
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "../../native/cuda_api.h"
#include "cudnn_check.h"
#include "emulator.h"

extern "C" const pixelcnn::CudaFunctions* pixelcnn_cuda(int32_t abi);

namespace pixelcnn::test {
namespace {

using namespace std::chrono_literals;

Checks check;
const CudaFunctions& cuda() { return *pixelcnn_cuda(kCudaAbi); }

// A device with an op that it can run, captured or not.
class Device {
 public:
  Device() {
    CudaDeviceInfo info{};
    device_ = cuda().open(0, &info, &status_);
    replay_ = cuda().create_replay(device_, &status_);
    memory_ = static_cast<uint8_t*>(cuda().allocate(device_, 4096, &status_));
    op_ = {memory_, memory_ + 256, memory_ + 1024, 256, 256, Precision::kF32};
    expect_success("a device opens");
  }
  ~Device() {
    cuda().release(device_, memory_);
    cuda().release_replay(device_, replay_);
    cuda().destroy(device_);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void run() { cuda().run_Quantise(device_, &op_, &status_); }
  void begin() { cuda().begin_recording(device_, replay_, &status_); }
  bool end() { return cuda().end_recording(device_, replay_, &status_) != 0; }
  bool cancel() { return cuda().cancel_recording(device_, replay_, "planted", &status_) != 0; }
  bool replay() { return cuda().replay(device_, replay_, &status_) != 0; }
  bool refused() const {
    char text[512] = "";
    cuda().refusal(replay_, text, sizeof text);
    return *text != '\0';
  }
  uint64_t fence() { return cuda().fence(device_, &status_); }
  bool reached(uint64_t fence) { return cuda().reached(device_, fence, &status_) != 0; }
  void wait(uint64_t fence) { cuda().wait(device_, fence, &status_); }
  std::string recording() const {
    char text[512];
    cuda().recording(device_, text, sizeof text);
    return text;
  }
  // A program's first run is not captured.
  void run_once() { begin(), run(), end(); }

  // An error that CUDA recovers from: a copy to memory that is not the device's.
  void fail() {
    uint8_t host[16] = {};
    cuda().write(device_, host, host, sizeof host, &status_);
  }
  void allocate() { cuda().allocate(device_, 1 << 20, &status_); }
  void choose() {
    const MaskedConv2dShape shape{{8, 8, masked_square(3, OwnRow::kCentre), 1, Algorithm::kAuto}, 1, 4, 4};
    const float bias[8] = {};
    const MaskedConv2d op{.x = nullptr,
                          .packed = nullptr,
                          .bias = bias,
                          .add = nullptr,
                          .position = nullptr,
                          .y = nullptr,
                          .shape = shape,
                          .region = {},
                          .relu = 0};
    cuda().workspace_MaskedConv2d(device_, &op, &status_);
  }
  void choose_for_training_head() {
    float operand[1] = {};
    const SoftmaxCrossEntropy op{.x = nullptr,
                                 .packed = nullptr,
                                 .packed_backward = operand,
                                 .bias = operand,
                                 .level = nullptr,
                                 .relu_output = nullptr,
                                 .nats = nullptr,
                                 .grad_x = operand,
                                 .grad_weight = operand,
                                 .grad_bias = operand,
                                 .shape = {1, 4, 4, 8, 1, 8}};
    cuda().workspace_SoftmaxCrossEntropy(device_, &op, &status_);
  }

  std::string code() const { return status_.code; }
  void forget() { status_ = {}; }
  void expect_success(const std::string& what) const {
    check(code().empty(), what + ": " + code() + " " + status_.message);
  }

 private:
  CudaStatus status_{};
  CudaDevice* device_ = nullptr;
  CudaReplay* replay_ = nullptr;
  uint8_t* memory_ = nullptr;
  Quantise op_{};
};

void test_error_beside_capture() {
  Device a, b;
  a.run_once();
  a.begin();
  a.run();
  std::thread([&] {
    b.fail();
    check(b.code() == "ERR_CUDA", "a failing copy is an error: " + b.code());
    b.forget();
    b.run_once();
    b.expect_success("the device works on after an error beside a capture");
  }).join();
  check(a.end(), "the capture beside the error becomes a graph");
  check(a.replay(), "which is launched");
  a.expect_success("a device that captures beside an error");
  check(a.recording() == "graphs", "runs graphs: " + a.recording());
}

// `work` has to wait until `a`, which captures, has ended its capture.
template <class Work>
void expect_to_wait(Device& a, const std::string& what, const Work& work) {
  a.run_once();
  a.begin();
  a.run();
  std::atomic<bool> done = false;
  std::thread other([&] {
    work();
    done = true;
  });
  std::this_thread::sleep_for(200ms);
  check(!done, what + " waits for the capture of another device");
  check(a.end(), what + " leaves the capture alone");
  other.join();
}

void test_one_at_a_time() {
  {
    Device a, b;
    b.run_once();
    expect_to_wait(a, "a capture", [&] { b.begin(), b.run(), check(b.end(), "the second capture"); });
    b.expect_success("two captures");
  }
  {
    Device a, b;
    expect_to_wait(a, "a search for plans", [&] { b.choose(); });
    b.expect_success("a search beside a capture");
  }
  {
    Device a, b;
    expect_to_wait(a, "a search for a head's plans", [&] { b.choose_for_training_head(); });
    b.expect_success("a head's search beside a capture");
  }
  Device a;
  auto b = std::make_unique<Device>();
  expect_to_wait(a, "a device that closes", [&] { b.reset(); });
}

void test_refused_capture() {
  {
    Device a;
    a.run_once();
    a.begin();
    a.run();
    std::thread([] { static_cast<void>(cudaDeviceSynchronize()); }).join();
    check(!a.end(), "a spoiled capture has not run");
    a.expect_success("a spoiled capture");
    check(a.refused(), "and is not tried again");
    check(a.recording().find("(1 so far)") != std::string::npos, a.recording());
    a.begin(), a.run();
    check(a.end() && !a.replay(), "it runs op by op");
    a.expect_success("op by op");
  }
  Device a;
  emulator::options.refused_capture_launch = 1;
  a.run_once();
  a.begin();
  a.run();
  check(a.code() == "ERR_CUDA", "an op refuses to be captured: " + a.code());
  a.forget();
  check(!a.cancel(), "its error is not the caller's");
  check(a.recording().find("planted") != std::string::npos, a.recording());
  a.begin(), a.run();
  check(a.end(), "it runs op by op");
  a.expect_success("an op that refuses to be captured");
  emulator::options.refused_capture_launch = 0;
}

// Memory that could not be zeroed is given back.
void test_failed_allocation() {
  Device a;
  size_t before = 0, after = 0, total = 0;
  static_cast<void>(cudaMemGetInfo(&before, &total));
  emulator::options.refused_call = "cudaMemsetAsync";
  a.allocate();
  check(!a.code().empty(), "memory that cannot be zeroed is an error");
  emulator::options.refused_call = nullptr;
  static_cast<void>(cudaMemGetInfo(&after, &total));
  check(before == after, "and does not stay allocated");
}

// A kernel fails while its step is waited for: whoever waits is told of the kernel.
void test_failure_in_flight() {
  int waited = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    emulator::options.deferred = seed;
    Device a;
    a.run_once();
    emulator::options.failing_launch = 1;
    a.run();
    const uint64_t fence = a.fence();
    // With some seeds it has failed by now.
    const bool in_flight = a.code().empty();
    for (int i = 0; in_flight && i < 1000 && a.code().empty(); ++i) static_cast<void>(a.reached(fence));
    if (in_flight) {
      ++waited;
      a.forget();
      a.wait(fence);
      check(a.code() == "ERR_CUDA", "a step that fails tells why: " + a.code());
    }
    emulator::options.deferred = 0;
    emulator::options.failing_launch = 0;
    static_cast<void>(cudaDeviceReset());
  }
  check(waited >= 5, "steps failed while they were waited for: " + std::to_string(waited));
}

// Nothing works after it, until the GPU is reset.
void test_lost() {
  Device a;
  emulator::options.failing_launch = 1;
  a.run();
  check(a.code() == "ERR_CUDA", "a kernel fails: " + a.code());
  a.forget();
  a.run();
  check(a.code() == "ERR_DEVICE_LOST", "the device is lost: " + a.code());
  static_cast<void>(cudaDeviceReset());
}

}  // namespace
}  // namespace pixelcnn::test

int main() {
  using namespace pixelcnn::test;
  test_error_beside_capture();
  test_one_at_a_time();
  test_refused_capture();
  test_failed_allocation();
  check(emulator::live_handles() == 0, "devices give back their streams and events");
  test_lost();
  test_failure_in_flight();
  return check.finish();
}
