// Tests with models of a GPU and of JavaScript that the executor keeps two steps in flight.
// Usage: executor_test [steps=100] [plant]
// With `plant` a look at the step that flies takes until the step ends, as if the executor just waited for
// it.
#include "../../native/executor.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <semaphore>
#include <thread>

namespace pixelcnn {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// It computes what is enqueued one after the other; the host may enqueue meanwhile.
class ModelGpu {
 public:
  static constexpr auto kStep = 4ms;
  // JavaScript hears of the end of a step and submits the next one: so long does that take.
  static constexpr auto kJavaScript = 100us;

  // Until when the step keeps the GPU busy. Counts it as overlapped if the GPU was busy when it came.
  Clock::time_point enqueue() {
    const auto now = Clock::now();
    if (busy_until_ > now) ++overlapped_;
    busy_until_ = std::max(now, busy_until_) + kStep;
    return busy_until_;
  }
  int overlapped() const { return overlapped_; }

 private:
  Clock::time_point busy_until_{};
  int overlapped_ = 0;
};

class StepJob final : public Job {
 public:
  StepJob(ModelGpu& gpu, bool plant) : gpu_(gpu), plant_(plant) {}
  void run(const std::atomic<bool>&) override { end_ = gpu_.enqueue(); }
  bool in_flight() const override { return true; }
  bool reached() override {
    if (plant_) finish();
    return Clock::now() >= end_;
  }
  void finish() override { std::this_thread::sleep_until(end_); }

 private:
  ModelGpu& gpu_;
  bool plant_;
  Clock::time_point end_{};
};

int run_steps(int steps, bool plant) {
  ModelGpu gpu;
  std::counting_semaphore<> completed(0);
  const auto begin = Clock::now();
  {
    Executor executor([&] { completed.release(); });
    // Two are submitted at first, then one for each that ends: as the trainer does.
    int submitted = 0;
    for (int ended = 0; ended < steps; ++ended) {
      for (; submitted < std::min(steps, ended + 2); ++submitted) {
        if (submitted >= 2) std::this_thread::sleep_for(ModelGpu::kJavaScript);
        executor.submit(std::make_unique<StepJob>(gpu, plant));
      }
      completed.acquire();
    }
  }
  const std::chrono::duration<double, std::milli> time = Clock::now() - begin;
  const double busy = static_cast<double>(steps) * std::chrono::milliseconds(ModelGpu::kStep).count();
  std::printf("%d of %d steps enqueued while one ran, %.0f%% of the time busy\n", gpu.overlapped(), steps,
              100 * busy / time.count());
  // The first step has none before it.
  return gpu.overlapped() >= 0.9 * (steps - 1) ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn

int main(int count, char** arguments) {
  const bool plant = count > 2 && std::strcmp(arguments[2], "plant") == 0;
  return pixelcnn::run_steps(count > 1 ? std::atoi(arguments[1]) : 100, plant);
}
