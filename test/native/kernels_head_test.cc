// Tests the model's last layer, the sampler, and the ops that are too small for their own file, on the
// CPU.
#include <algorithm>

#include "kernels_fixture.h"

namespace pixelcnn::test {

void KernelsTest::head() {
  const int channels = random_.chance(0.5) ? 1 : random_.integer(1, 4),
            levels = random_.chance(0.3) ? 256 : random_.integer(2, 80);
  const int n = random_.integer(1, 5), h = random_.integer(1, 16), w = random_.integer(1, 16),
            c = random_.integer(1, 70);
  const HeadShape head = {n, h, w, c, channels, levels, precision_};
  const MaskedConv2dShape shape = head.convolution();
  Activations x = activations(shape.x_count());
  Buffer<float> bias(shape.k);
  random_.fill(x, false), random_.fill(bias, false);
  const bool after_relu = random_.chance(0.5);
  for (int64_t i = 0; after_relu && i < x.count(); ++i) x.set(i, std::max(x[i], 0.0f));
  const Buffer<float> x_floats = x.floats();
  const Buffer<float> weight = random_weight(shape, false);
  Buffer<uint8_t> level(int64_t{n} * h * w * channels);
  for (int64_t i = 0; i < level.count(); ++i)
    level[i] = static_cast<uint8_t>(random_.integer(0, random_.chance(0.9) ? levels - 1 : 255));
  const Buffer<std::byte> forward = pack(shape, Direction::kForward, weight),
                          backward = pack(shape, Direction::kBackward, weight);
  const reference::CrossEntropy expected = reference::cross_entropy(
      reference::forward(shape, x_floats.data(), weight.data(), bias, nullptr, false), level, n,
      int64_t{h} * w * channels, levels);
  // In bf16 each gradient of a logit is rounded before it is multiplied, and may be off by half a step. The
  // bias sums them before they are rounded.
  Buffer<float> grad_logits(shape.y_count()), half_steps(shape.y_count());
  for (int64_t i = 0; i < grad_logits.count(); ++i) {
    grad_logits[i] = static_cast<float>(expected.grad_logits[i]);
    half_steps[i] = is_bf16() ? static_cast<float>(half_step_of_bf16(expected.grad_logits[i])) : 0;
  }
  const auto magnitudes = [](Buffer<float> values) {
    for (int64_t i = 0; i < values.count(); ++i) values[i] = std::abs(values[i]);
    return values;
  };
  char text[110];
  std::snprintf(text, sizeof text, "head n=%d h=%d w=%d c=%d channels=%d levels=%d%s", n, h, w, c, channels,
                levels, after_relu ? " after ReLU" : "");
  const std::string name = text;
  std::vector<Activations> first_grad_x;
  std::vector<Buffer<float>> first;
  std::vector<Buffer<double>> first_nats;
  for (int threads = 1; threads <= 3; ++threads) {
    Buffer<double> nats(n), nats_only(n);
    Activations grad_x = activations(x.count());
    Buffer<float> grad_weight(shape.weight_count()), grad_bias(shape.k);
    run_op(SoftmaxCrossEntropy{x, forward.data(), backward.data(), bias, level,
                               after_relu ? x.at(0) : nullptr, nats, grad_x, grad_weight, grad_bias, head},
           threads, name);
    run_op(SoftmaxCrossEntropy{x, forward.data(), nullptr, bias, level, nullptr, nats_only, nullptr, nullptr,
                               nullptr, head},
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
      const reference::Doubles grad_x_expected = reference::backward_input(
          shape, grad_logits, weight.data(), nullptr, after_relu ? x_floats.data() : nullptr);
      const reference::Doubles grad_weight_expected =
          reference::backward_weight(shape, x_floats.data(), grad_logits);
      if (is_bf16()) {
        const auto check = [&](const auto& result, const reference::Doubles& wanted, bool rounded,
                               const reference::Doubles& operands, const char* what) {
          // With the errors of its operands, a sum may reach the next power of two, where steps are longer.
          reference::Doubles allowed = allowed_error(wanted, kTolerance, false);
          for (size_t i = 0; i < allowed.size(); ++i) {
            const double most = std::abs(wanted[i]) + operands[i] + allowed[i];
            allowed[i] += operands[i] + (rounded ? half_step_of_bf16(most) : 0);
          }
          report.check_error(share_of_allowed(result, wanted, allowed), 1, what + name,
                             report.worst_rounding);
        };
        check(grad_x, grad_x_expected, true,
              reference::backward_input(shape, half_steps, magnitudes(weight).data(), nullptr, nullptr),
              "grad_x ");
        check(grad_weight, grad_weight_expected, false,
              reference::backward_weight(shape, magnitudes(x_floats).data(), half_steps), "grad_weight ");
      } else {
        report.check_error(relative_error(grad_x.floats(), grad_x_expected), kTolerance, "grad_x " + name,
                           report.worst_head);
        report.check_error(relative_error(grad_weight, grad_weight_expected), kTolerance,
                           "grad_weight " + name, report.worst_head);
      }
      report.check_error(relative_error(grad_bias, reference::backward_bias(shape, grad_logits)), kTolerance,
                         "grad_bias " + name, report.worst_head);
      first_grad_x.push_back(grad_x);
      for (const Buffer<float>* result : {&grad_weight, &grad_bias}) first.push_back(*result);
      first_nats.push_back(nats);
    }
    report.check(nats.same_bits(first_nats[0]) && grad_x.same_bits(first_grad_x[0]) &&
                     grad_weight.same_bits(first[0]) && grad_bias.same_bits(first[1]),
                 "same bits with " + std::to_string(threads) + " threads " + name);
  }
  x.set(0, NAN);
  Buffer<double> nats(n);
  run_op(SoftmaxCrossEntropy{x, forward.data(), nullptr, bias, level, nullptr, nats, nullptr, nullptr,
                             nullptr, head},
         1, name);
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
  Region front = {Region::Pixels::kFront, pad, random_.integer(pad + 1, pad + 2)};
  const float temperature = random_.chance(0.3) ? 0 : random_.chance(0.5) ? 1 : 0.1f + random_.uniform();
  const bool with_known = random_.chance(0.5), guided = random_.chance(0.4);
  const float guidance = random_.chance(0.3) ? 0 : 3 * random_.uniform();
  const HeadShape head = {n, h, w, c, channels, levels, precision_};
  const MaskedConv2dShape shape = head.convolution();
  const int64_t pixels = int64_t{n} * h * w;
  // With guidance, the second half of the images are the first under no condition.
  const int networks = guided ? 2 : 1;
  MaskedConv2dShape all = shape;
  all.n *= networks;
  Activations x = activations(all.x_count());
  Buffer<float> bias(shape.k), uniforms(pixels * channels), y(all.y_count()), logits(shape.y_count());
  random_.fill(x, false), random_.fill(bias, false);
  for (int64_t i = 0; i < uniforms.count(); ++i) uniforms[i] = random_.uniform();
  Buffer<uint8_t> known(pixels), level(pixels * channels);
  for (int64_t i = 0; i < pixels; ++i) known[i] = random_.chance(0.3);
  for (int64_t i = 0; i < level.count(); ++i) level[i] = static_cast<uint8_t>(random_.integer(0, levels - 1));
  const Buffer<uint8_t> given = level;
  const Buffer<float> weight = random_weight(shape, false);
  const Buffer<std::byte> packed = pack(shape, Direction::kForward, weight);
  run_op(MaskedConv2d{x, packed.data(), bias, nullptr, nullptr, y, all, {}, 0, 1}, 1, "forward");
  Activations x_padded = pad_image(x, front, all.n, h, w, c),
              image = activations(front.count(all.n, h, w) * channels);
  const int threads = random_.integer(1, 3);
  for (int32_t t = -1; t <= w + front.slope * (h - 1); ++t) {
    front.ahead = random_.chance(0.5) ? 0 : random_.integer(0, Region::kMostFronts - 1);
    const int32_t position = t - front.ahead;
    for (front.group = 0; front.group < channels; ++front.group) {
      run_op(SampleFront{x_padded, packed.data(), bias, uniforms, &temperature, guided ? &guidance : nullptr,
                         &position, with_known ? known.data() : nullptr, level, image, logits, head, front},
             threads, "sample");
    }
  }
  const std::string name = "sample " + describe(shape);
  bool logits_ok = guided || logits.same_bits(y);
  for (int64_t i = 0; guided && i < logits.count(); ++i) {
    if (guidance == 0) {
      logits_ok &= logits[i] == y[logits.count() + i];
    } else {
      const double none = y[logits.count() + i], wanted = none + guidance * (y[i] - none);
      logits_ok &=
          std::abs(logits[i] - wanted) <= 1e-6 * (std::abs(none) + std::abs(y[i]) + std::abs(wanted));
    }
  }
  report.check(logits_ok, (guided ? "guided logits " : "logits have forward's bits ") + name);
  report.check(level.guards_intact() && image.guards_intact() && logits.guards_intact(), "guards " + name);
  bool levels_ok = true, image_ok = true;
  for (int64_t i = 0; i < level.count(); ++i) {
    const int64_t pixel = i / channels, n_i = pixel / (int64_t{h} * w), row = pixel / w % h,
                  column = pixel % w;
    const int v = level[i];
    for (int network = 0; network < networks; ++network) {
      const int64_t at = padded_pixel(front, h, w, n_i + network * n, row, column) * channels + i % channels;
      image_ok &= image[at] == rounded(static_cast<float>(v) / static_cast<float>(levels - 1));
    }
    const float* row_logits = logits.data() + i * levels;
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

void KernelsTest::accumulate() {
  const int64_t count = random_.chance(0.5) ? random_.integer(1, 100) : random_.integer(1, 100000);
  Activations a = activations(count), b = activations(count), relu_output = activations(count);
  for (Activations* operand : {&a, &b, &relu_output}) random_.fill(*operand, random_.chance(0.5));
  relu_output.set(0, NAN);  // NaN is not <= 0, so the sum passes
  for (const bool add : {false, true}) {
    for (const bool mask : {false, true}) {
      Activations y = activations(count);
      run_op(Accumulate{a, add ? b.at(0) : nullptr, mask ? relu_output.at(0) : nullptr, y,
                        static_cast<int32_t>(count), precision_},
             random_.integer(1, 3), "accumulate");
      bool right = y.guards_intact();
      for (int64_t i = 0; i < count; ++i) {
        const float sum = add ? a[i] + b[i] : a[i];
        right &= y[i] == (mask && relu_output[i] <= 0 ? 0 : rounded(sum));
      }
      report.check(right, "Accumulate of " + std::to_string(count));
    }
  }
}

void KernelsTest::quantise() {
  const int levels = random_.integer(2, 256);
  Buffer<uint8_t> bytes(random_.integer(1, 40000)), level(bytes.count());
  for (int64_t i = 0; i < bytes.count(); ++i) bytes[i] = static_cast<uint8_t>(random_.integer(0, 255));
  Activations x = activations(bytes.count());
  run_op(Quantise{bytes, level, x, static_cast<int32_t>(bytes.count()), levels, precision_},
         random_.integer(1, 3), "quantise");
  bool right = x.guards_intact() && level.guards_intact();
  for (int64_t i = 0; i < bytes.count(); ++i) {
    const int wanted = bytes[i] * levels / 256;
    right &=
        level[i] == wanted && x[i] == rounded(static_cast<float>(wanted) / static_cast<float>(levels - 1));
  }
  report.check(right, "Quantise to " + std::to_string(levels) + " levels");
}

// What the comparisons of bf16 must notice: values that are cut off instead of rounded, and ties that are
// rounded up.
void KernelsTest::planted() {
  if (!is_bf16()) return;
  Buffer<float> values(1000);
  random_.fill(values, false);
  reference::Doubles expected(values.data(), values.data() + values.count());
  Activations right = activations(values.count()), cut_off = activations(values.count());
  for (int64_t i = 0; i < values.count(); ++i) {
    right.set(i, values[i]);
    uint32_t bits;
    std::memcpy(&bits, &values[i], sizeof bits);
    bits &= 0xffff0000;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    cut_off.set(i, value);
  }
  const reference::Doubles allowed = allowed_error(expected, kTolerance, true);
  report.check(share_of_allowed(right, expected, allowed) <= 1, "values that are rounded pass");
  report.check(share_of_allowed(cut_off, expected, allowed) > 1, "values that are cut off are noticed");
  // 1 + 2^-8 and 1 + 3 * 2^-8 lie in the middle of two values; the even ones are 1 and 1 + 2^-6.
  Activations a = activations(3), b = activations(3), y = activations(3);
  const float sums[] = {1, 1 + 0x1p-6f, 1 + 0x1p-7f};
  for (int i = 0; i < 3; ++i) a.set(i, i == 1 ? 1 + 0x1p-7f : 1), b.set(i, i == 2 ? 0x1.8p-8f : 0x1p-8f);
  run_op(Accumulate{a, b, nullptr, y, 3, precision_}, 1, "ties");
  for (int i = 0; i < 3; ++i) report.check(y[i] == sums[i], "ties are rounded to even");
}

void KernelsTest::small_ops() {
  Buffer<uint32_t> y(random_.integer(1, 200000));
  run_op(Zero{y, static_cast<int32_t>(y.count())}, 2, "zero");
  bool zero = true;
  for (int64_t i = 0; i < y.count(); ++i) zero &= y[i] == 0;
  report.check(zero && y.guards_intact(), "Zero");
  int32_t position = 41;
  run_op(NextFront{&position}, 1, "next");
  report.check(position == 42, "NextFront");
  run_op(NextFront{&position, 136}, 1, "next");
  report.check(position == 178, "NextFront by many");
  position = INT32_MAX - 1;
  run_op(NextFront{&position, 3}, 1, "next");
  report.check(position == INT32_MIN + 1, "NextFront beyond int32");
}

}  // namespace pixelcnn::test
