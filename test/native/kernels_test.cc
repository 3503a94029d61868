// Compares the CPU kernels with naive loops on random shapes.
//   kernels_test [shapes=200] [seed=1] [isa]
//   kernels_test bench [isa]
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "kernels_bench.h"
#include "kernels_harness.h"
#include "kernels_reference.h"

namespace pixelcnn::test {
namespace {

constexpr double kTolerance = 1e-5;

MaskedConv2dShape random_shape(Random& random) {
  for (;;) {
    const auto channels = [&] {
      const int odd_ones[] = {1, 2, 3, 5, 7, 13, 16, 31, 32, 33, 48, 64, 65, 70, 127, 256};
      return random.chance(0.5) ? odd_ones[random.integer(0, 15)] : random.integer(1, 40);
    };
    const auto side = [&] { return random.chance(0.1) ? random.integer(20, 40) : random.integer(1, 18); };
    const int kernel = random.chance(0.1) ? 2 * random.integer(4, 15) + 1 : 2 * random.integer(0, 3) + 1;
    const int c = channels(), k = channels();
    const int groups = random.chance(0.5) ? 1 : random.chance(0.7) ? 3 : random.integer(1, std::min(256, k));
    const MaskedConv2dShape shape = {random.integer(1, 4),
                                     side(),
                                     side(),
                                     c,
                                     k,
                                     kernel,
                                     random.chance(0.5) ? MaskType::kA : MaskType::kB,
                                     groups,
                                     Algorithm::kDirect};
    const double products = double(shape.y_count()) * c * kernel * (kernel / 2 + 1);
    if (products < 6e6) return shape;
  }
}

class KernelsTest {
 public:
  KernelsTest(const Kernels& kernels, uint64_t seed) : kernels_(kernels), random_(seed) {
    for (int threads = 1; threads <= 3; ++threads) pools_.push_back(std::make_unique<ThreadPool>(threads));
  }

  void convolution(MaskedConv2dShape shape);
  void containment(const MaskedConv2dShape& shape);
  void front(const MaskedConv2dShape& shape);
  void head();
  void sampling();
  void small_ops();
  Report report;

 private:
  template <class Op>
  void run_op(const Op& op, int threads, const std::string& what) {
    report.check(run(kernels_, op, *pools_[threads - 1]), what + ": workspace overrun");
  }
  // Weights with NaN wherever the mask hides them.
  Buffer<float> random_weight(const MaskedConv2dShape& shape, bool integers) {
    Buffer<float> weight(shape.weight_count());
    random_.fill(weight, integers, 0.2f);
    const int size = shape.kernel_size;
    for (int64_t i = 0; i < weight.count(); ++i) {
      const int s = i % size, r = i / size % size, c = i / (size * size) % shape.c;
      const int k = static_cast<int>(i / (int64_t{size} * size * shape.c));
      if (!reference::live(shape, k, c, r, s)) weight[i] = NAN;
    }
    return weight;
  }
  Buffer<std::byte> pack(const MaskedConv2dShape& shape, Direction direction, const Buffer<float>& weight,
                         int threads = 1) {
    Buffer<std::byte> packed(kernels_.packed_bytes(shape, direction));
    run_op(MaskedConv2dPack{weight.data(), packed.data(), shape, direction}, threads,
           "pack " + describe(shape));
    report.check(packed.guards_intact(), "pack guards " + describe(shape));
    return packed;
  }
  Buffer<float> pad_image(const Buffer<float>& x, const FrontShape& front, const MaskedConv2dShape& shape) {
    const int n = shape.n, h = shape.h, w = shape.w, c = shape.c;
    Buffer<float> padded(front.pixels(n, h, w) * c);
    std::memset(padded.data(), 0, padded.count() * sizeof(float));
    for (int64_t row = 0; row < int64_t{n} * h; ++row) {
      std::memcpy(padded + padded_pixel(front, h, w, row / h, row % h, 0) * c, x.data() + row * w * c,
                  sizeof(float) * w * c);
    }
    return padded;
  }
  static int64_t padded_pixel(const FrontShape& front, int h, int w, int64_t n, int64_t i, int64_t j) {
    return (n * (front.pad + h) + front.pad + i) * (w + 2 * front.pad) + front.pad + j;
  }

  const Kernels& kernels_;
  Random random_;
  std::vector<std::unique_ptr<ThreadPool>> pools_;
};

void KernelsTest::convolution(MaskedConv2dShape shape) {
  const bool integers = random_.chance(0.4), relu = random_.chance(0.5), gated = random_.chance(0.5);
  Buffer<float> x(shape.x_count()), grad_y(shape.y_count()), bias(shape.k), gate(shape.x_count());
  for (Buffer<float>* buffer : {&x, &grad_y, &bias, &gate}) random_.fill(*buffer, integers);
  const Buffer<float> weight = random_weight(shape, integers);
  const float* gate_or_null = gated ? gate.data() : nullptr;
  const reference::Doubles y_expected = reference::forward(shape, x, weight.data(), bias, relu);
  const reference::Doubles grad_x_expected =
      reference::backward_input(shape, grad_y, weight.data(), gate_or_null);
  const reference::Doubles grad_weight_expected = reference::backward_weight(shape, x, grad_y);
  const reference::Doubles grad_bias_expected = reference::backward_bias(shape, grad_y);

  for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kWinograd, Algorithm::kAuto}) {
    shape.algorithm = algorithm;
    const std::string name = describe(shape);
    std::vector<Buffer<float>> first;  // the results with one thread
    for (int threads = 1; threads <= 3; ++threads) {
      const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight, threads);
      const Buffer<std::byte> backward = pack(shape, Direction::kBackward, weight, threads);
      Buffer<float> y(shape.y_count()), grad_x(shape.x_count()), grad_weight(shape.weight_count()),
          grad_bias(shape.k);
      run_op(MaskedConv2dForward{x, forward.data(), bias, y, shape, relu}, threads, "forward " + name);
      run_op(MaskedConv2dBackwardInput{grad_y, backward.data(), gate_or_null, grad_x, shape}, threads,
             "input " + name);
      run_op(MaskedConv2dBackwardWeight{x, grad_y, grad_weight, grad_bias, shape}, threads, "weight " + name);
      for (const Buffer<float>* out : {&y, &grad_x, &grad_weight, &grad_bias}) {
        report.check(out->guards_intact(), "guards " + name);
      }
      if (threads > 1) {
        report.check(y.same_bits(first[0]) && grad_x.same_bits(first[1]) && grad_weight.same_bits(first[2]) &&
                         grad_bias.same_bits(first[3]),
                     "same bits with " + std::to_string(threads) + " threads " + name);
        continue;
      }
      const bool direct = algorithm == Algorithm::kDirect;
      const double limit = direct && integers ? 0 : kTolerance;
      double& worst = direct ? report.worst_direct : report.worst_winograd;
      report.check_error(relative_error(y, y_expected), limit, "forward " + name, worst);
      report.check_error(relative_error(grad_x, grad_x_expected), limit, "backward input " + name, worst);
      report.check_error(relative_error(grad_weight, grad_weight_expected), limit, "backward weight " + name,
                         worst);
      report.check_error(relative_error(grad_bias, grad_bias_expected), limit, "backward bias " + name,
                         worst);
      bool zero = true;
      for (int64_t i = 0; i < grad_weight.count(); ++i)
        zero &= weight.data()[i] == weight.data()[i] || grad_weight[i] == 0;
      report.check(zero, "masked gradients are 0 " + name);
      // The last image alone gives the same bits.
      MaskedConv2dShape alone = shape;
      alone.n = 1;
      Buffer<float> y1(alone.y_count());
      run_op(MaskedConv2dForward{x.data() + (shape.n - 1) * alone.x_count(), forward.data(), bias, y1, alone,
                                 relu},
             1, name);
      report.check(std::memcmp(y1, y.data() + (shape.n - 1) * alone.y_count(), alone.y_count() * 4) == 0,
                   "image independent of its batch " + name);
      for (Buffer<float>* result : {&y, &grad_x, &grad_weight, &grad_bias}) first.push_back(*result);
    }
  }
}

// A NaN reaches exactly the outputs that may see it, in both directions.
void KernelsTest::containment(const MaskedConv2dShape& shape) {
  Buffer<float> x(shape.x_count()), grad_y(shape.y_count()), bias(shape.k), y(shape.y_count()),
      grad_x(shape.x_count());
  for (Buffer<float>* buffer : {&x, &grad_y, &bias}) random_.fill(*buffer, false);
  const Buffer<float> weight = random_weight(shape, false);
  const int64_t bad_x = random_.integer(0, static_cast<int>(shape.x_count()) - 1);
  const int64_t bad_y = random_.integer(0, static_cast<int>(shape.y_count()) - 1);
  x[bad_x] = random_.chance(0.5) ? NAN : INFINITY;
  grad_y[bad_y] = random_.chance(0.5) ? NAN : -INFINITY;
  std::vector<char> y_bad(shape.y_count()), x_bad(shape.x_count());
  reference::for_each_product(shape, [&](int64_t from, int64_t to, int64_t) {
    y_bad[to] |= from == bad_x;
    x_bad[from] |= to == bad_y;
  });
  const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight);
  const Buffer<std::byte> backward = pack(shape, Direction::kBackward, weight);
  run_op(MaskedConv2dForward{x, forward.data(), bias, y, shape, 0}, 2, "forward");
  run_op(MaskedConv2dBackwardInput{grad_y, backward.data(), nullptr, grad_x, shape}, 2, "backward");
  bool exact = true;
  for (int64_t i = 0; i < y.count(); ++i) exact &= std::isfinite(y[i]) == !y_bad[i];
  for (int64_t i = 0; i < grad_x.count(); ++i) exact &= std::isfinite(grad_x[i]) == !x_bad[i];
  report.check(exact, "NaN contained " + describe(shape));
}

void KernelsTest::front(const MaskedConv2dShape& shape) {
  const int pad_least = shape.kernel_size / 2, pad = random_.integer(pad_least, std::min(15, pad_least + 2));
  const FrontShape front = {pad, random_.integer(pad + 1, std::min(16, pad + 2))};
  Buffer<float> x(shape.x_count()), bias(shape.k), y(shape.y_count());
  random_.fill(x, false), random_.fill(bias, false);
  const Buffer<float> weight = random_weight(shape, false);
  const Buffer<std::byte> packed = pack(shape, Direction::kForward, weight);
  Buffer<float> x_padded = pad_image(x, front, shape),
                y_padded(front.pixels(shape.n, shape.h, shape.w) * shape.k);
  Buffer<float> untouched = y_padded;
  run_op(MaskedConv2dForward{x, packed.data(), bias, y, shape, 1}, 1, "forward");
  const int threads = random_.integer(1, 3);
  const auto step = [&](int32_t t) {
    for (int group = 0; group < shape.groups; ++group) {
      run_op(MaskedConv2dFront{x_padded, packed.data(), bias, &t, y_padded, shape, front, group}, threads,
             "front");
    }
  };
  const int last = shape.w - 1 + front.slope * (shape.h - 1);
  for (int t : {-1, last + 1, INT32_MIN, INT32_MAX, -1000, 1 << 30}) step(t);
  report.check(y_padded.same_bits(untouched), "garbage steps do nothing " + describe(shape));
  for (int t = 0; t <= last; ++t) step(t);
  for (int64_t row = 0; row < int64_t{shape.n} * shape.h; ++row) {
    std::memcpy(untouched + padded_pixel(front, shape.h, shape.w, row / shape.h, row % shape.h, 0) * shape.k,
                y + row * shape.w * shape.k, sizeof(float) * shape.w * shape.k);
  }
  report.check(y_padded.same_bits(untouched) && y_padded.guards_intact(),
               "front has forward's bits " + describe(shape));
}

void KernelsTest::head() {
  const int channels = random_.chance(0.5) ? 1 : random_.integer(1, 4),
            levels = random_.chance(0.3) ? 256 : random_.integer(2, 80);
  const int n = random_.integer(1, 5), h = random_.integer(1, 16), w = random_.integer(1, 16),
            c = random_.integer(1, 70);
  SoftmaxCrossEntropyBackward op = {};
  op.n = n, op.h = h, op.w = w, op.c = c, op.channels = channels, op.levels = levels;
  const MaskedConv2dShape shape = op.head();
  Buffer<float> x(shape.x_count()), bias(shape.k);
  random_.fill(x, false), random_.fill(bias, false);
  for (int64_t i = 0; i < x.count(); ++i) x[i] = std::max(x[i], 0.0f);
  const Buffer<float> weight = random_weight(shape, false);
  Buffer<uint8_t> level(int64_t{n} * h * w * channels);
  for (int64_t i = 0; i < level.count(); ++i)
    level[i] = static_cast<uint8_t>(random_.integer(0, random_.chance(0.9) ? levels - 1 : 255));
  const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight),
                          backward = pack(shape, Direction::kBackward, weight);
  const reference::CrossEntropy expected = reference::cross_entropy(
      reference::forward(shape, x, weight.data(), bias, false), level, n, int64_t{h} * w * channels, levels);
  const Buffer<float> grad_logits = [&] {
    Buffer<float> result(shape.y_count());
    for (int64_t i = 0; i < result.count(); ++i) result[i] = static_cast<float>(expected.grad_logits[i]);
    return result;
  }();
  char text[96];
  std::snprintf(text, sizeof text, "head n=%d h=%d w=%d c=%d channels=%d levels=%d", n, h, w, c, channels,
                levels);
  const std::string name = text;
  std::vector<Buffer<float>> first;
  std::vector<Buffer<double>> first_nats;
  for (int threads = 1; threads <= 3; ++threads) {
    Buffer<double> nats(n), nats_only(n);
    Buffer<float> grad_x(x.count()), grad_weight(shape.weight_count()), grad_bias(shape.k);
    run_op(SoftmaxCrossEntropyBackward{x, forward.data(), backward.data(), bias, level, nats, grad_x,
                                       grad_weight, grad_bias, n, h, w, c, channels, levels},
           threads, name);
    run_op(SoftmaxCrossEntropy{x, forward.data(), bias, level, nats_only, n, h, w, c, channels, levels},
           threads, name);
    report.check(nats.same_bits(nats_only), "nats with and without gradients " + name);
    report.check(nats.guards_intact() && grad_x.guards_intact() && grad_weight.guards_intact() &&
                     grad_bias.guards_intact(),
                 "guards " + name);
    if (threads == 1) {
      for (int i = 0; i < n; ++i) {
        report.check_error(std::abs(nats[i] - expected.nats[i]) / expected.nats[i], kTolerance,
                           "nats " + name, report.worst_head);
      }
      report.check_error(
          relative_error(grad_x, reference::backward_input(shape, grad_logits.data(), weight.data(), x)),
          kTolerance, "grad_x " + name, report.worst_head);
      report.check_error(
          relative_error(grad_weight, reference::backward_weight(shape, x, grad_logits.data())), kTolerance,
          "grad_weight " + name, report.worst_head);
      report.check_error(relative_error(grad_bias, reference::backward_bias(shape, grad_logits.data())),
                         kTolerance, "grad_bias " + name, report.worst_head);
      for (const Buffer<float>* result : {&grad_x, &grad_weight, &grad_bias}) first.push_back(*result);
      first_nats.push_back(nats);
    }
    report.check(nats.same_bits(first_nats[0]) && grad_x.same_bits(first[0]) &&
                     grad_weight.same_bits(first[1]) && grad_bias.same_bits(first[2]),
                 "same bits with " + std::to_string(threads) + " threads " + name);
  }
  x[0] = NAN;
  Buffer<double> nats(n);
  run_op(SoftmaxCrossEntropy{x, forward.data(), bias, level, nats, n, h, w, c, channels, levels}, 1, name);
  bool finite = std::isnan(nats[0]);
  for (int i = 1; i < n; ++i) finite &= std::isfinite(nats[i]);
  report.check(finite, "NaN stays in its image " + name);
}

void KernelsTest::sampling() {
  const int channels = random_.chance(0.5) ? 1 : 3,
            levels = random_.chance(0.3) ? 256 : random_.integer(2, 80);
  const int n = random_.integer(1, 5), h = random_.integer(1, 12), w = random_.integer(1, 12),
            c = random_.integer(1, 70);
  const int pad = random_.integer(0, 4);
  const FrontShape front = {pad, random_.integer(pad + 1, pad + 2)};
  const float temperature = random_.chance(0.3) ? 0 : random_.chance(0.5) ? 1 : 0.1f + random_.uniform();
  const bool with_known = random_.chance(0.5);
  const MaskedConv2dShape shape = {
      n, h, w, c, channels * levels, 1, MaskType::kB, channels, Algorithm::kDirect};
  const int64_t pixels = int64_t{n} * h * w;
  Buffer<float> x(shape.x_count()), bias(shape.k), uniforms(pixels * channels), y(shape.y_count()),
      logits(shape.y_count());
  random_.fill(x, false), random_.fill(bias, false);
  for (int64_t i = 0; i < uniforms.count(); ++i) uniforms[i] = random_.uniform();
  Buffer<uint8_t> known(pixels), level(pixels * channels);
  for (int64_t i = 0; i < pixels; ++i) known[i] = random_.chance(0.3);
  for (int64_t i = 0; i < level.count(); ++i) level[i] = static_cast<uint8_t>(random_.integer(0, levels - 1));
  const Buffer<uint8_t> given = level;
  const Buffer<float> weight = random_weight(shape, false);
  const Buffer<std::byte> packed = pack(shape, Direction::kForward, weight);
  run_op(MaskedConv2dForward{x, packed.data(), bias, y, shape, 0}, 1, "forward");
  Buffer<float> x_padded = pad_image(x, front, shape), image(front.pixels(n, h, w) * channels);
  const int threads = random_.integer(1, 3);
  for (int32_t t = -1; t <= w + front.slope * (h - 1); ++t) {
    for (int channel = 0; channel < channels; ++channel) {
      run_op(SampleFront{x_padded, packed.data(), bias, uniforms, &temperature, &t,
                         with_known ? known.data() : nullptr, level, image, logits, n, h, w, c, channels,
                         levels, front, channel},
             threads, "sample");
    }
  }
  const std::string name = "sample " + describe(shape);
  report.check(logits.same_bits(y), "logits have forward's bits " + name);
  report.check(level.guards_intact() && image.guards_intact() && logits.guards_intact(), "guards " + name);
  bool levels_ok = true, image_ok = true;
  for (int64_t i = 0; i < level.count(); ++i) {
    const int64_t pixel = i / channels, n_i = pixel / (int64_t{h} * w), row = pixel / w % h,
                  column = pixel % w;
    const int v = level[i];
    image_ok &= image[padded_pixel(front, h, w, n_i, row, column) * channels + i % channels] ==
                static_cast<float>(v) / static_cast<float>(levels - 1);
    const float* row_logits = y.data() + i * levels;
    if (with_known && known[pixel]) {
      levels_ok &= v == given.data()[i];
    } else if (temperature == 0) {
      levels_ok &= v == std::max_element(row_logits, row_logits + levels) - row_logits;
    } else {
      const reference::Doubles cdf = reference::cumulative(row_logits, levels, temperature);
      levels_ok &= cdf[v] > uniforms[i] - 1e-6 && (v == 0 || cdf[v - 1] <= uniforms[i] + 1e-6);
    }
  }
  report.check(levels_ok, "drawn levels " + name);
  report.check(image_ok, "image values " + name);
}

void KernelsTest::small_ops() {
  Buffer<float> y(random_.integer(1, 200000));
  run_op(Zero{y, static_cast<int32_t>(y.count())}, 2, "zero");
  bool zero = true;
  for (int64_t i = 0; i < y.count(); ++i) zero &= y[i] == 0;
  report.check(zero && y.guards_intact(), "Zero");
  int32_t step = 41;
  run_op(NextFront{&step}, 1, "next");
  report.check(step == 42, "NextFront");
}

int run_tests(const Kernels& kernels, int shapes, uint64_t seed) {
  KernelsTest test(kernels, seed);
  Random random(seed);
  for (int i = 0; i < shapes; ++i) {
    const MaskedConv2dShape shape = random_shape(random);
    test.convolution(shape);
    test.containment(shape);
    if (i % 2 == 0) test.front(shape);
    test.head();
    test.sampling();
  }
  test.small_ops();
  const Report& report = test.report;
  std::printf("%s: worst relative error direct %.2g, winograd %.2g, head %.2g\n", kernels.isa,
              report.worst_direct, report.worst_winograd, report.worst_head);
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  const bool bench = argc > 1 && std::strcmp(argv[1], "bench") == 0;
  const int isa_at = bench ? 2 : 3;
  const pixelcnn::cpu::Kernels* kernels = pixelcnn::cpu::kernels(argc > isa_at ? argv[isa_at] : nullptr);
  if (!kernels) {
    std::printf("this build or processor has no such instruction set\n");
    return 2;
  }
  if (bench) return pixelcnn::test::run_bench(*kernels);
  return pixelcnn::test::run_tests(*kernels, argc > 1 ? std::atoi(argv[1]) : 200,
                                   argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
