// Tests masked convolution on the CPU: both directions, the weight gradient, and the sampler's regions.
#include "kernels_fixture.h"

namespace pixelcnn::test {

void KernelsTest::convolution(MaskedConv2dShape shape) {
  const bool integers = random_.chance(0.4), relu = random_.chance(0.5), through_relu = random_.chance(0.5);
  const bool with_bias = random_.chance(0.7), with_add = random_.chance(0.5);
  Activations x = activations(shape.x_count()), grad_y = activations(shape.y_count()),
              relu_output = activations(shape.x_count()), add_y = activations(shape.y_count()),
              add_x = activations(shape.x_count());
  for (Activations* operand : {&x, &grad_y, &relu_output, &add_y, &add_x}) random_.fill(*operand, integers);
  Buffer<float> bias(shape.k);
  random_.fill(bias, integers);
  shape.precision = precision_;
  relu_output.set(0, NAN);  // NaN is not <= 0, so the gradient passes
  const Buffer<float> weight = random_weight(shape, integers);
  Buffer<float> x_floats = x.floats(), grad_y_floats = grad_y.floats(), add_y_floats = add_y.floats();
  const void *relu_output_or_null = through_relu ? relu_output.at(0) : nullptr,
             *add_y_or_null = with_add ? add_y.at(0) : nullptr,
             *add_x_or_null = with_add ? add_x.at(0) : nullptr;
  const float* bias_or_null = with_bias ? bias.data() : nullptr;
  const reference::Doubles y_expected = reference::forward(shape, x_floats, weight.data(), bias_or_null,
                                                           with_add ? add_y_floats.data() : nullptr, relu);
  const reference::Doubles grad_x_expected = reference::backward_input(
      shape, grad_y_floats, weight.data(), with_add ? add_x.floats().data() : nullptr,
      through_relu ? relu_output.floats().data() : nullptr);
  const reference::Doubles grad_weight_expected = reference::backward_weight(shape, x_floats, grad_y_floats);
  const reference::Doubles grad_bias_expected = reference::backward_bias(shape, grad_y_floats);

  for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kWinograd, Algorithm::kAuto}) {
    shape.algorithm = algorithm;
    const std::string name = describe(shape);
    std::vector<Activations> first;  // the results with one thread
    std::vector<Buffer<float>> first_gradients;
    for (int threads = 1; threads <= 3; ++threads) {
      const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight, threads);
      const Buffer<std::byte> backward = pack(shape, Direction::kBackward, weight, threads);
      Activations y = activations(shape.y_count()), grad_x = activations(shape.x_count());
      Buffer<float> grad_weight(shape.weight_count()), grad_bias(shape.k), float_y(shape.y_count());
      run_op(MaskedConv2d{x, forward.data(), bias_or_null, add_y_or_null, nullptr, y, shape, {}, relu},
             threads, "forward " + name);
      run_op(MaskedConv2dBackwardInput{grad_y, backward.data(), add_x_or_null, relu_output_or_null, grad_x,
                                       shape},
             threads, "input " + name);
      run_op(MaskedConv2dBackwardWeight{x, grad_y, grad_weight, grad_bias, shape}, threads, "weight " + name);
      run_op(MaskedConv2d{x,
                          forward.data(),
                          bias_or_null,
                          with_add ? add_y_floats.data() : nullptr,
                          nullptr,
                          float_y,
                          shape,
                          {},
                          relu,
                          1},
             threads, "float y " + name);
      report.check(y.guards_intact() && grad_x.guards_intact(), "guards " + name);
      for (const Buffer<float>* out : {&grad_weight, &grad_bias, &float_y}) {
        report.check(out->guards_intact(), "guards " + name);
      }
      bool same = true;  // A result that is stored as float32 is the same before it is rounded.
      for (int64_t i = 0; i < y.count(); ++i) same &= y[i] == rounded(float_y[i]);
      report.check(same, "float y " + name);
      if (threads > 1) {
        report.check(y.same_bits(first[0]) && grad_x.same_bits(first[1]) &&
                         grad_weight.same_bits(first_gradients[0]) && grad_bias.same_bits(first_gradients[1]),
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
        report.check_error(relative_error(result, expected, scale), limit, what + name, worst);
      };
      Buffer<float> without_bias(shape.weight_count());
      run_op(MaskedConv2dBackwardWeight{x, grad_y, without_bias, nullptr, shape}, threads, "weight " + name);
      report.check(without_bias.same_bits(grad_weight) && without_bias.guards_intact(),
                   "weight gradient without that of the bias " + name);
      check_activations(y, y_expected, limit == 0, tiny ? norm(x_floats) * norm(weight) : 0,
                        "forward " + name, worst);
      check_activations(grad_x, grad_x_expected, limit == 0, tiny ? norm(grad_y_floats) * norm(weight) : 0,
                        "backward input " + name, worst);
      compare(float_y, y_expected, tiny ? norm(x_floats) * norm(weight) : 0, "float y ");
      compare(grad_weight, grad_weight_expected, tiny ? norm(x_floats) * norm(grad_y_floats) : 0,
              "backward weight ");
      // The sum of a single channel may happen to cancel, so rounding is measured against its terms, whose
      // norm a sum has on average.
      compare(grad_bias, grad_bias_expected, shape.k < 4 ? norm(grad_y_floats) : 0, "backward bias ");
      bool zero = true;
      for (int64_t i = 0; i < grad_weight.count(); ++i)
        zero &= weight.data()[i] == weight.data()[i] || grad_weight[i] == 0;
      report.check(zero, "masked gradients are 0 " + name);
      // The last image alone gives the same bits.
      MaskedConv2dShape alone = shape;
      alone.n = 1;
      Activations y1 = activations(alone.y_count());
      const void* add_last = with_add ? add_y.at((shape.n - 1) * alone.y_count()) : nullptr;
      run_op(MaskedConv2d{x.at((shape.n - 1) * alone.x_count()),
                          forward.data(),
                          bias_or_null,
                          add_last,
                          nullptr,
                          y1,
                          alone,
                          {},
                          relu},
             1, name);
      report.check(std::memcmp(y1, y.at((shape.n - 1) * alone.y_count()), alone.y_count() * y.element()) == 0,
                   "image independent of its batch " + name);
      for (Activations* result : {&y, &grad_x}) first.push_back(*result);
      for (Buffer<float>* result : {&grad_weight, &grad_bias}) first_gradients.push_back(*result);
    }
  }
}

// A NaN reaches exactly the outputs that may see it, in both directions.
void KernelsTest::containment(const MaskedConv2dShape& shape) {
  Activations x = activations(shape.x_count()), grad_y = activations(shape.y_count()),
              y = activations(shape.y_count()), grad_x = activations(shape.x_count());
  for (Activations* operand : {&x, &grad_y}) random_.fill(*operand, false);
  Buffer<float> bias(shape.k);
  random_.fill(bias, false);
  const Buffer<float> weight = random_weight(shape, false);
  const int64_t bad_x = random_.integer(0, static_cast<int>(shape.x_count()) - 1);
  const int64_t bad_y = random_.integer(0, static_cast<int>(shape.y_count()) - 1);
  const bool relu = random_.chance(0.5);  // keeps NaN
  x.set(bad_x, relu || random_.chance(0.5) ? NAN : INFINITY);
  grad_y.set(bad_y, random_.chance(0.5) ? NAN : -INFINITY);
  std::vector<char> y_bad(shape.y_count()), x_bad(shape.x_count());
  reference::for_each_product(shape, [&](int64_t from, int64_t to, int64_t) {
    y_bad[to] |= from == bad_x;
    x_bad[from] |= to == bad_y;
  });
  const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight);
  const Buffer<std::byte> backward = pack(shape, Direction::kBackward, weight);
  run_op(MaskedConv2d{x, forward.data(), bias, nullptr, nullptr, y, shape, {}, relu}, 2, "forward");
  run_op(MaskedConv2dBackwardInput{grad_y, backward.data(), nullptr, nullptr, grad_x, shape}, 2, "backward");
  bool exact = true;
  for (int64_t i = 0; i < y.count(); ++i) exact &= std::isfinite(y[i]) == !y_bad[i];
  for (int64_t i = 0; i < grad_x.count(); ++i) exact &= std::isfinite(grad_x[i]) == !x_bad[i];
  report.check(exact, "NaN contained " + describe(shape));
}

// A region has the bits of the whole image, group by group or all groups at once, and writes nothing else.
void KernelsTest::region(const MaskedConv2dShape& shape, Region::Pixels pixels) {
  const Window& window = shape.window;
  const int reach = std::max({window.above, window.left, window.right()});
  Region region = {pixels, random_.integer(reach, std::min(15, reach + 2))};
  region.slope = window.right() + random_.integer(1, random_.chance(0.2) ? shape.w + 3 : 3);
  const bool relu = random_.chance(0.5), by_group = random_.chance(0.5);
  Activations x = activations(shape.x_count()), y = activations(shape.y_count()),
              add = activations(shape.y_count());
  for (Activations* operand : {&x, &add}) random_.fill(*operand, false);
  Buffer<float> bias(shape.k);
  random_.fill(bias, false);
  const float* bias_or_null = random_.chance(0.7) ? bias.data() : nullptr;
  const void* add_or_null = random_.chance(0.5) ? add.at(0) : nullptr;
  const Buffer<float> weight = random_weight(shape, false);
  const Buffer<std::byte> packed = pack(shape, Direction::kForward, weight);
  const int n = shape.n, h = shape.h, w = shape.w, k = shape.k;
  Activations x_padded = pad_image(x, region, n, h, w, shape.c),
              add_padded = pad_image(add, region, n, h, w, k),
              y_padded = activations(region.count(n, h, w) * k);
  Activations untouched = y_padded;
  run_op(MaskedConv2d{x, packed.data(), bias_or_null, add_or_null, nullptr, y, shape, {}, relu}, 1,
         "whole image");
  const int threads = random_.integer(1, 3);
  const auto run_at = [&](int32_t from, int32_t ahead) {
    region.ahead = ahead;
    for (int group = 0; group < (by_group ? shape.channel_groups : 1); ++group) {
      region.group = by_group ? group : Region::kAllGroups;
      run_op(MaskedConv2d{x_padded, packed.data(), bias_or_null, add_or_null ? add_padded.at(0) : nullptr,
                          &from, y_padded, shape, region, relu},
             threads, "region");
    }
  };
  const bool rows = pixels == Region::Pixels::kRow;
  const std::string name = (rows ? "row " : "front ") + describe(shape);
  const int last = region.slope * (h - 1) + (rows ? 0 : w - 1);
  const int most = Region::kMostFronts - 1, any = random_.integer(1, most);
  for (int t : {-1, -region.slope, last + region.slope, INT32_MIN, INT32_MAX, -1000, 1 << 30}) run_at(t, 0);
  // A sum beyond int32 has no pixels either.
  for (int from : {INT32_MIN, INT32_MAX - any + 1, INT32_MAX}) run_at(from, any), run_at(from, most);
  run_at(-any - 1, any), run_at(last + 1, any * region.slope % most), run_at(last + region.slope - any, any);
  for (int t = 0; rows && t <= last; ++t) {
    if (t % region.slope != 0) run_at(t, 0);
  }
  report.check(y_padded.same_bits(untouched), "other positions have no pixels " + name);
  for (int t = 0; t <= last; ++t) {
    const int ahead = random_.chance(0.3) ? 0 : random_.chance(0.3) ? most : random_.integer(0, last + 1);
    run_at(t - ahead, ahead);
  }
  copy_rows(y, region, n, h, w, k, untouched);
  report.check(y_padded.same_bits(untouched) && y_padded.guards_intact(), "bits of the whole image " + name);
}

}  // namespace pixelcnn::test
