// Demands that no op hands scratch memory from one thread to another, except for partial sums.
//   traffic_test [threads=4]         measures all ops and prints a table of their scratch memory and traffic
//   traffic_test <threads> planted   measures an op that hands over everything it wrote, and fails
//
// A task reads what its own thread wrote, or what nobody writes meanwhile: otherwise the bytes travel from
// cache to cache, which takes long where two cores share none. This is counted, not timed, so that a machine
// whose cores share a cache finds the fault too (traffic_runtime.h). Scratch memory that is used between two
// stages of a task must fit the L2 cache of one core.
#include <cstdlib>
#include <set>

#include "kernels_harness.h"
#include "traffic_outputs.h"
#include "traffic_planted.h"
#include "traffic_runtime.h"

namespace pixelcnn::test {
namespace {

constexpr int64_t kL2Bytes = 1 << 20;
// The most partial sums of each gradient that an op adds up, however many tasks it has.
constexpr int64_t kGradientParts = 32, kHeadGradientParts = 16;
constexpr int64_t kMostLanes = 16;  // of a vector: a row of partial sums is padded to a multiple of them

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Returns the bytes of one partial gradient: the live taps of all weights, and the bias.
int64_t partial_gradient_bytes(const FilterShape& shape) {
  int64_t columns = 0;
  for (int group = 0; group < shape.channel_groups; ++group)
    columns += divide_up(shape.first_output(group + 1) - shape.first_output(group), kMostLanes) * kMostLanes;
  return columns * (int64_t{shape.window.taps()} * shape.c + 1) * int64_t{sizeof(float)};
}

// A part of the direct algorithm has whole images.
int64_t gradient_bound(const MaskedConv2dShape& shape) {
  const bool direct = shape.algorithm == Algorithm::kDirect;
  return std::min(kGradientParts, int64_t{direct ? shape.n : shape.n * shape.h}) *
         partial_gradient_bytes(shape);
}

// The nats of a block of pixels are a partial sum; a block has at least 14 pixels unless its image ends.
int64_t head_bound(const HeadShape& shape, bool training) {
  const int64_t blocks = shape.n * divide_up(int64_t{shape.h} * shape.w, 14);
  return blocks * int64_t{sizeof(double)} +
         (training ? std::min(kHeadGradientParts, blocks) * partial_gradient_bytes(shape.convolution()) : 0);
}

// The squares of 2^14 gradients make one partial sum.
int64_t norm_bound(int64_t count) { return divide_up(count, 1 << 14) * int64_t{sizeof(double)}; }

class TrafficTest {
 public:
  TrafficTest(const Kernels& kernels, int threads) : kernels_(kernels), random_(1), pool_(threads) {
    std::printf("%-26s %10s %10s %10s %10s %10s  %s\n", "op (bytes)", "scratch", "of a task", "crossing",
                "between", "bound", "shape");
  }

  void convolutions();
  void default_network();
  void heads();
  void samplers();
  void ops_without_sums();
  void planted();
  void planted_fault();
  void every_op_was_measured();
  Report report;

 private:
#define PIXELCNN_X(Op)                                                                            \
  void measure(const Op& op, const std::string& shape, int64_t bound, int64_t most = INT64_MAX) { \
    Buffer<std::byte> scratch(kernels_.workspace_##Op(op, pool_.threads()));                      \
    begin_traffic(scratch.data(), scratch.count());                                               \
    OutputVisitor outputs(kernels_);                                                              \
    Op described = op;                                                                            \
    described.describe(outputs);                                                                  \
    Context context{pool_, scratch.data()};                                                       \
    kernels_.run_##Op(op, context);                                                               \
    demand(#Op, shape, scratch.count(), end_traffic(), bound, most);                              \
    measured_.insert(#Op);                                                                        \
  }
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

  // Prints a row of the table, and demands at most `bound` crossing bytes and `most` bytes in a task.
  void demand(const std::string& op, const std::string& shape, int64_t scratch, const Traffic& traffic,
              int64_t bound, int64_t most) {
    std::printf("%-26s %10lld %10lld %10lld %10lld %10lld  %s\n", op.c_str(), static_cast<long long>(scratch),
                static_cast<long long>(traffic.largest_task), static_cast<long long>(traffic.crossing),
                static_cast<long long>(traffic.between), static_cast<long long>(bound), shape.c_str());
    const std::string name = op + " " + shape;
    report.check(traffic.crossing <= bound, name + ": more crosses than the partial sums");
    report.check(traffic.between == 0, name + ": something crosses before the last loop, which adds sums up");
    report.check(traffic.of_outputs == 0, name + ": a thread reads outputs that another wrote");
    report.check(traffic.unwritten == 0, name + ": scratch memory is read that nothing has written");
    report.check(traffic.largest_task <= most, name + ": a task's scratch memory exceeds the L2 cache");
  }

  Buffer<float> random(int64_t count) {
    Buffer<float> buffer(count);
    random_.fill(buffer, false, 0.2f);
    return buffer;
  }
  Buffer<std::byte> pack(const FilterShape& shape, Direction direction) {
    Buffer<float> weight = random(shape.weight_count());
    Buffer<std::byte> packed(kernels_.packed_bytes(shape, direction));
    measure(MaskedConv2dPack{{{weight, packed.data(), shape, direction}}, 1}, describe(shape), 0);
    return packed;
  }
  void forward(const MaskedConv2dShape& shape, int64_t most = INT64_MAX);
  void backward_input(const MaskedConv2dShape& shape, int64_t most = INT64_MAX);
  void backward_weight(const MaskedConv2dShape& shape);

  const Kernels& kernels_;
  Random random_;
  ThreadPool pool_;
  std::set<std::string> measured_;
};

void TrafficTest::forward(const MaskedConv2dShape& shape, int64_t most) {
  Buffer<float> x = random(shape.x_count()), bias = random(shape.k), y(shape.y_count());
  const Buffer<std::byte> packed = pack(shape, Direction::kForward);
  measure(MaskedConv2d{x, packed.data(), bias, nullptr, nullptr, y, shape, {}, 1}, describe(shape), 0, most);
}

void TrafficTest::backward_input(const MaskedConv2dShape& shape, int64_t most) {
  Buffer<float> grad_y = random(shape.y_count()), add = random(shape.x_count()), grad_x(shape.x_count());
  const Buffer<std::byte> packed = pack(shape, Direction::kBackward);
  measure(MaskedConv2dBackwardInput{grad_y, packed.data(), add, nullptr, grad_x, shape}, describe(shape), 0,
          most);
}

void TrafficTest::backward_weight(const MaskedConv2dShape& shape) {
  Buffer<float> x = random(shape.x_count()), grad_y = random(shape.y_count());
  Buffer<float> grad_weight(shape.weight_count()), grad_bias(shape.k);
  measure(MaskedConv2dBackwardWeight{x, grad_y, grad_weight, grad_bias, shape}, describe(shape),
          gradient_bound(shape));
}

// The windows of plain and gated networks, with few, many and an odd number of channels.
void TrafficTest::convolutions() {
  const auto upper_half = [](int reach) {
    return Window{reach + 1, 2 * reach + 1, reach, reach, OwnRow::kAll};
  };
  const Window windows[] = {masked_square(7, OwnRow::kLeft),
                            masked_square(7, OwnRow::kCentre),
                            masked_square(5, OwnRow::kLeft),
                            masked_square(5, OwnRow::kCentre),
                            masked_square(3, OwnRow::kLeft),
                            masked_square(3, OwnRow::kCentre),
                            masked_square(1, OwnRow::kCentre),
                            upper_half(3),
                            upper_half(2),
                            upper_half(1),
                            {1, 4, 0, 3, OwnRow::kLeft},
                            {1, 2, 0, 1, OwnRow::kCentre}};
  const struct {
    int c, k, groups, pairs;
  } channels[] = {{3, 16, 3, 0}, {16, 32, 1, 1}, {64, 64, 1, 0}, {33, 35, 3, 0}};
  for (const Window& window : windows) {
    for (const auto& [c, k, groups, pairs] : channels) {
      for (const Algorithm algorithm : {Algorithm::kDirect, Algorithm::kWinograd}) {
        const bool row = window.columns == 1 || window.above == 0;
        if (row && algorithm == Algorithm::kWinograd) continue;  // it would run the direct algorithm
        MaskedConv2dShape shape = {{c, k, window, groups, algorithm}, 5, 14, 13};
        shape.pairs = pairs;
        forward(shape);
        backward_input(shape);
        backward_weight(shape);
      }
    }
  }
}

// The layers of the default network, in a batch of a training step where one image would say little.
void TrafficTest::default_network() {
  for (const Window& window : {masked_square(7, OwnRow::kCentre), Window{4, 7, 3, 3, OwnRow::kAll}}) {
    const FilterShape filter = {64, 64, window, 1, Algorithm::kWinograd};
    forward({filter, 2, 28, 28}, kL2Bytes);
    backward_input({filter, 2, 28, 28}, kL2Bytes);
    backward_weight({filter, 32, 28, 28});
  }
  backward_weight({{64, 64, masked_square(7, OwnRow::kCentre), 1, Algorithm::kDirect}, 6, 28, 28});
  backward_weight({{1, 64, masked_square(7, OwnRow::kLeft), 1, Algorithm::kDirect}, 32, 28, 28});
}

void TrafficTest::heads() {
  for (const HeadShape& head : {HeadShape{32, 28, 28, 64, 1, 2}, HeadShape{3, 14, 13, 33, 3, 256},
                                HeadShape{2, 5, 3, 16, 1, 7}, HeadShape{1, 9, 9, 5, 3, 65}}) {
    const MaskedConv2dShape shape = head.convolution();
    Buffer<float> x = random(shape.x_count()), bias = random(shape.k), grad_x(shape.x_count());
    Buffer<float> grad_weight(shape.weight_count()), grad_bias(shape.k);
    Buffer<double> nats(head.n);
    Buffer<uint8_t> level(head.pixels() * head.channels);
    for (int64_t i = 0; i < level.count(); ++i)
      level[i] = static_cast<uint8_t>(random_.integer(0, head.levels - 1));
    const Buffer<std::byte> to = pack(shape, Direction::kForward), back = pack(shape, Direction::kBackward);
    const std::string name = std::to_string(head.levels) + " levels " + describe(shape);
    measure(SoftmaxCrossEntropy{x, to.data(), nullptr, bias, level, nullptr, nats, nullptr, nullptr, nullptr,
                                head},
            name, head_bound(head, false));
    measure(SoftmaxCrossEntropy{x, to.data(), back.data(), bias, level, nullptr, nats, grad_x, grad_weight,
                                grad_bias, head},
            "training " + name, head_bound(head, true));
  }
}

void TrafficTest::samplers() {
  for (const HeadShape& head :
       {HeadShape{40, 8, 8, 64, 1, 256}, HeadShape{2, 12, 10, 16, 3, 64}, HeadShape{5, 4, 5, 33, 1, 2}}) {
    const MaskedConv2dShape shape = head.convolution();
    Region front = {Region::Pixels::kFront, 3, 4};
    const int64_t bordered = front.count(head.n, head.h, head.w), values = head.pixels() * head.channels;
    Buffer<float> x = random(bordered * head.c), bias = random(shape.k),
                  image = random(bordered * head.channels);
    Buffer<float> uniforms(values);
    for (int64_t i = 0; i < values; ++i) uniforms[i] = random_.uniform();
    Buffer<uint8_t> level(values);
    const Buffer<std::byte> packed = pack(shape, Direction::kForward);
    const float temperature = 1;
    for (const int32_t position : {0, head.w - 1, front.slope * (head.h - 1) / 2}) {
      for (front.group = 0; front.group < head.channels; ++front.group) {
        measure(SampleFront{x, packed.data(), bias, uniforms, &temperature, &position, nullptr, level, image,
                            nullptr, head, front},
                "front " + std::to_string(position) + " " + describe(shape), 0);
      }
    }
  }
}

// The ops that need little or no scratch memory, each on one shape.
void TrafficTest::ops_without_sums() {
  const int32_t count = 100'000, n = 50, pixels = count / n;
  Buffer<float> a = random(count), b = random(count), c = random(count), d = random(count), e = random(count);
  Buffer<uint8_t> bytes(count), level(count);
  Buffer<uint32_t> index(n), key(4);
  Buffer<double> state(4);
  for (int i = 0; i < 4; ++i) state[i] = 0;
  const float hyper[] = {1e-3f, 0.9f, 0.999f, 1e-8f, 0, 1, 0, 0};
  const std::string name = "count=" + std::to_string(count);
  measure(GradientNorm{a, state, count}, name, norm_bound(count));
  measure(Adam{a, hyper, state, b, c, d, e, count}, name, 0);
  measure(Binarise{bytes, index, key, level, n, pixels}, name, 0);
  measure(Quantise{bytes, level, a, count, 256}, name, 0);
  measure(RandomUniform{index, key, a, n, pixels}, name, 0);
  measure(Accumulate{a, b, nullptr, c, count}, name, 0);
  measure(GatedActivation{a, nullptr, b, n, 10, 10, 10, 1, Precision::kF32, {}}, name, 0);
  measure(GatedActivationBackward{a, b, c, count / 2}, name, 0);
  measure(Zero{reinterpret_cast<uint32_t*>(a.data()), count}, name, 0);
  int32_t position = 0;
  measure(NextFront{&position}, "", 0);
}

// The traffic of the planted ops is known to the byte, for every way to access memory.
void TrafficTest::planted() {
  const int threads = pool_.threads();
  int64_t handed_over = 0, from_other_threads = 0;
  for (int64_t task = 0; task < kPlantedTasks; ++task) {
    if (simulated_thread(0, task, threads) != simulated_thread(1, task, threads))
      handed_over += kPlantedFloats * int64_t{sizeof(float)};
    if (simulated_thread(0, task, threads) != 0) from_other_threads += sizeof(float);
  }
  report.check(handed_over > 0 && from_other_threads > 0, "planted ops use several threads");
  for (const Access access : kAccesses) {
    Buffer<float> out(kPlantedTasks * kPlantedFloats);
    Buffer<std::byte> scratch((kPlantedTasks + threads) * kPlantedFloats * int64_t{sizeof(float)});
    float* floats = reinterpret_cast<float*>(scratch.data());
    const std::string name = "planted, access " + std::to_string(static_cast<int>(access));
    begin_traffic(scratch.data(), scratch.count());
    hand_over(access, floats, out, pool_);
    const Traffic fault = end_traffic();
    report.check(fault.crossing == handed_over && fault.between == handed_over,
                 name + ": what a second loop reads is counted");
    // The same scratch memory, but as an output.
    begin_traffic(nullptr, 0);
    follow_output(floats, scratch.count() / 4, 4);
    hand_over(access, floats, out, pool_);
    report.check(end_traffic().of_outputs == handed_over, name + ": what is read from an output is counted");
    begin_traffic(scratch.data(), scratch.count());
    keep_with_thread(access, floats, pool_);
    const Traffic sums = end_traffic();
    report.check(sums.crossing == from_other_threads && sums.between == 0,
                 name + ": partial sums are counted, and what a thread keeps is not");
    report.check(sums.largest_task == (kPlantedFloats + 1) * int64_t{sizeof(float)},
                 name + ": the scratch memory of a task is counted");
    demand("planted", name, scratch.count(), sums, kPlantedTasks * int64_t{sizeof(float)}, kL2Bytes);
  }
}

void TrafficTest::planted_fault() {
  Buffer<float> out(kPlantedTasks * kPlantedFloats), scratch(kPlantedTasks * kPlantedFloats);
  const int64_t bytes = scratch.count() * int64_t{sizeof(float)};
  begin_traffic(reinterpret_cast<std::byte*>(scratch.data()), bytes);
  hand_over(Access::kVectors, scratch, out, pool_);
  demand("planted", "hands over what it wrote", bytes, end_traffic(), 0, kL2Bytes);
}

void TrafficTest::every_op_was_measured() {
#define PIXELCNN_X(Op) report.check(measured_.contains(#Op), #Op ": no shape of it is measured here");
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
}

int run_tests(const Kernels& kernels, int threads, bool planted_fault) {
  TrafficTest test(kernels, threads);
  if (planted_fault) {
    test.planted_fault();
  } else {
    test.convolutions();
    test.default_network();
    test.heads();
    test.samplers();
    test.ops_without_sums();
    test.planted();
    test.every_op_was_measured();
  }
  std::printf("%s: %d passed, %d failed\n", kernels.isa, test.report.passed(), test.report.failed());
  return test.report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  const pixelcnn::cpu::Kernels* kernels = pixelcnn::cpu::kernels(nullptr);
  if (!kernels) {
    std::printf("this processor lacks the instruction set of the measured kernels\n");
    return 2;
  }
  const int threads = argc > 1 ? std::atoi(argv[1]) : 4;
  if (threads < 2 || threads > pixelcnn::test::kMostThreads) {
    std::printf("2 to %d threads can be simulated\n", pixelcnn::test::kMostThreads);
    return 1;
  }
  return pixelcnn::test::run_tests(*kernels, threads, argc > 2 && std::strcmp(argv[2], "planted") == 0);
}
