// Tests masked convolution on the CPU: both directions, the weight gradient, and the sampler's front.
#include "kernels_fixture.h"

namespace pixelcnn::test {

void KernelsTest::convolution(MaskedConv2dShape shape) {
  const bool integers = random_.chance(0.4), relu = random_.chance(0.5), through_relu = random_.chance(0.5);
  Buffer<float> x(shape.x_count()), grad_y(shape.y_count()), bias(shape.k), relu_output(shape.x_count());
  for (Buffer<float>* buffer : {&x, &grad_y, &bias, &relu_output}) random_.fill(*buffer, integers);
  relu_output[0] = NAN;  // NaN is not <= 0, so the gradient passes
  const Buffer<float> weight = random_weight(shape, integers);
  const float* relu_output_or_null = through_relu ? relu_output.data() : nullptr;
  const reference::Doubles y_expected = reference::forward(shape, x, weight.data(), bias, relu);
  const reference::Doubles grad_x_expected =
      reference::backward_input(shape, grad_y, weight.data(), relu_output_or_null);
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
      run_op(MaskedConv2dBackwardInput{grad_y, backward.data(), relu_output_or_null, grad_x, shape}, threads,
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
      // An image smaller than a Winograd tile may have no live product; rounding is then measured against
      // operands.
      const bool tiny = !direct && shape.h * shape.w < 16;
      const auto compare = [&](const Buffer<float>& result, const reference::Doubles& expected, double scale,
                               const char* what) {
        report.check_error(relative_error(result, expected, tiny ? scale : 0), limit, what + name, worst);
      };
      compare(y, y_expected, norm(x) * norm(weight), "forward ");
      compare(grad_x, grad_x_expected, norm(grad_y) * norm(weight), "backward input ");
      compare(grad_weight, grad_weight_expected, norm(x) * norm(grad_y), "backward weight ");
      compare(grad_bias, grad_bias_expected, 0, "backward bias ");
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
  const bool relu = random_.chance(0.5);  // keeps NaN
  x[bad_x] = relu || random_.chance(0.5) ? NAN : INFINITY;
  grad_y[bad_y] = random_.chance(0.5) ? NAN : -INFINITY;
  std::vector<char> y_bad(shape.y_count()), x_bad(shape.x_count());
  reference::for_each_product(shape, [&](int64_t from, int64_t to, int64_t) {
    y_bad[to] |= from == bad_x;
    x_bad[from] |= to == bad_y;
  });
  const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight);
  const Buffer<std::byte> backward = pack(shape, Direction::kBackward, weight);
  run_op(MaskedConv2dForward{x, forward.data(), bias, y, shape, relu}, 2, "forward");
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
  const auto run_front = [&](int32_t from, int32_t ahead) {
    for (int group = 0; group < shape.channel_groups; ++group) {
      run_op(MaskedConv2dFront{x_padded, packed.data(), bias, &from, y_padded, shape, front, group, ahead},
             threads, "front");
    }
  };
  const int last = shape.w - 1 + front.slope * (shape.h - 1);
  const int most = FrontShape::kMostFronts - 1, any = random_.integer(1, most);
  for (int t : {-1, last + 1, INT32_MIN, INT32_MAX, -1000, 1 << 30}) run_front(t, 0);
  // A sum beyond int32 is not a front either.
  for (int from : {INT32_MIN, INT32_MAX - any + 1, INT32_MAX}) run_front(from, any), run_front(from, most);
  run_front(-any - 1, any), run_front(last + 1, any), run_front(last + 1 - any, any);
  report.check(y_padded.same_bits(untouched), "positions off the image have no pixels " + describe(shape));
  for (int t = 0; t <= last; ++t) {
    const int ahead = random_.chance(0.3) ? 0 : random_.chance(0.3) ? most : random_.integer(0, last + 1);
    run_front(t - ahead, ahead);
  }
  for (int64_t row = 0; row < int64_t{shape.n} * shape.h; ++row) {
    std::memcpy(untouched + padded_pixel(front, shape.h, shape.w, row / shape.h, row % shape.h, 0) * shape.k,
                y + row * shape.w * shape.k, sizeof(float) * shape.w * shape.k);
  }
  report.check(y_padded.same_bits(untouched) && y_padded.guards_intact(),
               "front has forward's bits " + describe(shape));
}

}  // namespace pixelcnn::test
