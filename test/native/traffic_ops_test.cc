// Chooses the shapes on which each op is measured, and derives from them how much of it may cross: its
// partial sums.
#include "traffic_fixture.h"

namespace pixelcnn::test {

namespace {

// The most partial sums of each gradient that an op adds up, however many tasks it has. Winograd has up to 8
// parts with at least 24 tiles of 4 x 4 pixels, and more only if they have 192.
constexpr int64_t kGradientParts = 32, kHeadGradientParts = 16;
constexpr int64_t kSmallParts = 8, kLeastSmallTiles = 24, kLeastTiles = 192;
constexpr int64_t kMostLanes = 16;  // of a vector: a row of partial sums is padded to a multiple of them

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Returns the bytes of one partial gradient: the live taps of all weights, and the bias.
int64_t partial_gradient_bytes(const FilterShape& shape) {
  int64_t columns = 0;
  for (int group = 0; group < shape.channel_groups; ++group)
    columns += divide_up(shape.first_output(group + 1) - shape.first_output(group), kMostLanes) * kMostLanes;
  return columns * (int64_t{shape.window.taps()} * shape.c + 1) * int64_t{sizeof(float)};
}

// A part of the direct algorithm has one image at least.
int64_t gradient_bound(const MaskedConv2dShape& shape) {
  const int64_t tiles = shape.n * divide_up(shape.h, 4) * divide_up(shape.w, 4);
  const int64_t winograd = std::max(tiles / kLeastTiles, std::min(kSmallParts, tiles / kLeastSmallTiles));
  const int64_t most = shape.algorithm == Algorithm::kDirect ? shape.n : std::max(int64_t{1}, winograd);
  return std::min(kGradientParts, most) * partial_gradient_bytes(shape);
}

// The nats of a block of pixels are a partial sum; a block has at least 14 pixels unless its image ends.
int64_t head_bound(const HeadShape& shape, bool training) {
  const int64_t blocks = shape.n * divide_up(int64_t{shape.h} * shape.w, 14);
  return blocks * int64_t{sizeof(double)} +
         (training ? std::min(kHeadGradientParts, blocks) * partial_gradient_bytes(shape.convolution()) : 0);
}

// The squares of 2^14 gradients make one partial sum.
int64_t norm_bound(int64_t count) { return divide_up(count, 1 << 14) * int64_t{sizeof(double)}; }

}  // namespace

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
        if (algorithm == Algorithm::kWinograd && c == 33) {
          // A part of Winograd has many tiles, so smaller batches have one part, which runs on one thread.
          shape.n = 32, shape.h = shape.w = 28;
        }
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
    // Twice as many images: with guidance, each is also drawn under no condition.
    Buffer<float> x = random(2 * bordered * head.c), bias = random(shape.k),
                  image = random(2 * bordered * head.channels);
    Buffer<float> uniforms(values);
    for (int64_t i = 0; i < values; ++i) uniforms[i] = random_.uniform();
    Buffer<uint8_t> level(values);
    const Buffer<std::byte> packed = pack(shape, Direction::kForward);
    const float temperature = 1, guidance = 2;
    for (const int32_t position : {0, head.w - 1, front.slope * (head.h - 1) / 2}) {
      for (front.group = 0; front.group < head.channels; ++front.group) {
        for (const float* given : {static_cast<const float*>(nullptr), &guidance}) {
          measure(SampleFront{x, packed.data(), bias, uniforms, &temperature, given, &position, nullptr,
                              level, image, nullptr, head, front},
                  (given ? "guided front " : "front ") + std::to_string(position) + " " + describe(shape), 0);
        }
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
  measure(Cast{a, b, count}, name, 0);
  // The rows of a condition: none, one for each image and one for each pixel.
  for (const int32_t per_pixel : {-1, 0, 1}) {
    const float* condition = per_pixel < 0 ? nullptr : d.data();
    const int32_t map = per_pixel == 1;
    measure(GatedActivation{a, condition, nullptr, b, n, 10, 10, 10, 1, map, Precision::kF32, {}}, name, 0);
    measure(GatedActivationBackward{a, condition, b, c, n, 10, 10, 10, map}, name, 0);
    if (condition) {
      measure(AddCondition{a, condition, nullptr, c, n, 10, 10, 20, 1, map, 1, Precision::kF32, {}}, name, 0);
    }
  }
  // Neither has partial sums in memory: a task adds up some channels of an image, or some columns of the
  // table.
  for (const int32_t channels : {20, 200}) {
    const int32_t size = count / n / 10;
    measure(SumPixels{a, b, n, pixels / channels, channels}, name, 0);
    measure(Embedding{a, index, b, n, 100, size}, name, 0);
    measure(EmbeddingBackward{index, a, b, n, 100, size}, name, 0);
  }
  measure(Zero{reinterpret_cast<uint32_t*>(a.data()), count}, name, 0);
  int32_t position = 0;
  measure(NextFront{&position}, "", 0);
}

}  // namespace pixelcnn::test
