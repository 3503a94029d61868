// Tests executors and thread pools under the thread sanitizer: several threads open, use, close and stop
// devices at random moments, as worker threads of Node do. Usage: threads_test ROUNDS [plant]
// With `plant` two devices write one variable, which the sanitizer must report.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../../native/cpu/backend.h"
#include "../../native/executor.h"
#include "../../native/program.h"

namespace pixelcnn {
namespace {

// A masked convolution, its packing and its gradients: every one of them runs on all threads of the pool.
std::vector<int32_t> commands_of(Backend& backend, std::vector<int64_t>& arena_bytes) {
  const std::vector<int32_t> images = {2, 9, 8};
  const std::vector<int32_t> filter = {4, 40, 5, 5, 2, 2, 2, 1, 1, 0, 0};  // mask B, direct, f32, no pairs
  const std::vector<int32_t> whole_image = {0, 0, 1, 0, -1};
  const MaskedConv2dShape decoded = {decode_filter(filter), 2, 9, 8};
  const std::vector<int64_t> bytes = {
      decoded.weight_count() * 4, backend.packed_bytes(decoded, Direction::kForward),
      decoded.x_count() * 4,      int64_t{decoded.k} * 4,
      decoded.y_count() * 4,      backend.packed_bytes(decoded, Direction::kBackward),
      decoded.weight_count() * 4, int64_t{decoded.k} * 4,
      decoded.x_count() * 4,
  };
  arena_bytes = bytes;
  enum { kWeight, kForward, kX, kBias, kY, kBackward, kGradWeight, kGradBias, kGradX };
  std::vector<int32_t> result;
  const auto op = [&](const std::string& name, const std::vector<std::vector<int32_t>>& lists,
                      const std::vector<int32_t>& tensors) {
    std::vector<int32_t> numbers;
    for (const auto& list : lists) numbers.insert(numbers.end(), list.begin(), list.end());
    for (const int32_t arena : tensors) numbers.insert(numbers.end(), {arena, 0});
    for (size_t id = 0; id < op_names().size(); ++id) {
      if (op_names()[id] == name) result.push_back(static_cast<int32_t>(id));
    }
    result.push_back(static_cast<int32_t>(numbers.size()));
    result.insert(result.end(), numbers.begin(), numbers.end());
  };
  op("maskedConv2dPack", {{2}, filter, {0}, filter, {1}}, {kWeight, kForward, kWeight, kBackward});
  op("maskedConv2d", {images, filter, whole_image, {1, 0}}, {kX, kForward, kBias, -1, -1, kY});
  op("maskedConv2dBackwardWeight", {images, filter}, {kX, kY, kGradWeight, kGradBias});
  op("maskedConv2dBackwardInput", {images, filter}, {kY, kBackward, -1, -1, kGradX});
  return result;
}

int planted = 0;

class RunJob final : public Job {
 public:
  RunJob(std::shared_ptr<Program> program, bool plant) : program_(std::move(program)), plant_(plant) {}
  void run(const std::atomic<bool>& stopping) override {
    program_->prepare();
    for (int i = 0; i < 3 && !stopping; ++i) program_->run();
    if (plant_) ++planted;
  }
  // As on a GPU: finished after the next one has been run.
  bool in_flight() const override { return true; }

 private:
  std::shared_ptr<Program> program_;
  bool plant_;
};

class CloseJob final : public Job {
 public:
  explicit CloseJob(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}
  void run(const std::atomic<bool>&) override { backend_->close(); }

 private:
  std::shared_ptr<Backend> backend_;
};

// What one environment does with one device.
void use_device(std::minstd_rand& random, bool plant) {
  auto backend = cpu::open_backend(3, "");
  std::vector<int64_t> sizes;
  const std::vector<int32_t> commands = commands_of(*backend, sizes);
  std::atomic<int> notified = 0;
  auto executor = std::make_unique<Executor>([&] { ++notified; });
  std::vector<std::shared_ptr<Arena>> arenas;
  for (const int64_t bytes : sizes) arenas.push_back(std::make_shared<Arena>(backend, bytes));
  const auto program =
      std::make_shared<Program>(commands, arenas, std::vector<int32_t>{}, std::vector<int32_t>{});
  const auto jobs = 1 + random() % 6;
  for (unsigned i = 0; i < jobs; ++i) executor->submit(std::make_unique<RunJob>(program, plant));
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
  size_t collected = executor->collect().size();
  switch (random() % 3) {
    case 0:  // all work is awaited
      while (collected < jobs) {
        collected += executor->collect().size();
        std::this_thread::yield();
      }
      break;
    case 1:  // dispose: what waits is refused
      executor->close(std::make_unique<CloseJob>(backend));
      while (collected < jobs + 1) {
        collected += executor->collect().size();
        std::this_thread::yield();
      }
      try {
        executor->submit(std::make_unique<RunJob>(program, plant));
        std::fprintf(stderr, "a closed executor took a job\n");
        std::exit(3);
      } catch (const Error&) {
      }
      break;
    default:  // the environment ends in the middle of it
      executor->stop();
  }
  executor.reset();
}

}  // namespace
}  // namespace pixelcnn

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
  const bool plant = argc > 2 && std::strcmp(argv[2], "plant") == 0;
  std::vector<std::thread> environments;
  for (int i = 0; i < 3; ++i) {
    environments.emplace_back([=] {
      std::minstd_rand random(static_cast<unsigned>(i) + 1);
      for (int round = 0; round < rounds; ++round) pixelcnn::use_device(random, plant);
    });
  }
  for (auto& environment : environments) environment.join();
  std::printf("%d devices\n", 3 * rounds);
}
