// Tests the model's last layer on the CUDA backend: likelihoods against the CPU backend, and training
// against the CPU's convolutions and a float64 cross-entropy, with the roundings of the precision in
// between.
#include "cuda_ops_test.h"
#include "kernels_reference.h"

namespace pixelcnn::test {

HeadCase::HeadCase(Random& random, int most_side, bool integers) {
  const int usual[] = {2, 8, 16, 256};
  levels = random.chance(0.5) ? usual[random.integer(0, 3)] : random.integer(2, 256);
  channels = random.chance(0.5) ? 1 : random.integer(1, levels > 64 ? 3 : 16);
  c = channels + random.integer(0, 40);
  if (random.chance(0.4)) c = (c + 7) / 8 * 8;
  n = random.integer(1, 5), h = random.integer(1, most_side), w = random.integer(1, most_side);
  precision = static_cast<Precision>(random.integer(0, 3));
  const MaskedConv2dShape head = shape();
  const auto fill = [&](std::vector<float>& values, int64_t count, float scale) {
    values.resize(count);
    for (float& value : values) {
      value = integers ? static_cast<float>(random.integer(-2, 2)) : random.normal() * scale;
      value = rounded(value, precision);
    }
  };
  fill(x, head.x_count(), 1);
  fill(weight, head.weight_count(), 0.3f);
  fill(bias, head.k, 1);
  for (float& value : x) value = std::max(value, 0.0f);  // the output of a ReLU
  level.resize(int64_t{n} * h * w * channels);
  for (uint8_t& value : level)
    value = static_cast<uint8_t>(random.integer(0, random.chance(0.9) ? levels - 1 : 255));
}

std::string HeadCase::name(const char* op) const {
  char text[160];
  std::snprintf(text, sizeof text, "%s n=%d h=%d w=%d c=%d channels=%d levels=%d %s", op, n, h, w, c,
                channels, levels, name_of(precision));
  return text;
}

std::vector<std::byte> pack_on_device(const HeadCase& head, Direction direction, const cuda::Gpu& gpu) {
  const DeviceBuffer<float> weight(head.weight);
  const DeviceBuffer<std::byte> packed(cuda::packed_bytes(head.shape(), direction));
  run_on_device(MaskedConv2dPack{{{weight, packed, head.shape(), direction}}, 1}, gpu);
  return packed.read();
}

namespace {

bool close(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  for (size_t i = 0; i < a.size(); ++i) {
    const bool both = std::isfinite(a[i]) && std::isfinite(b[i]);
    if (both ? std::abs(a[i] - b[i]) > tolerance * std::abs(b[i])
             : std::isfinite(a[i]) != std::isfinite(b[i]))
      return false;
  }
  return true;
}

SoftmaxCrossEntropy likelihood_op(const HeadShape& shape, const void* x, const void* packed,
                                  const float* bias, const uint8_t* level, double* nats) {
  return {.x = x,
          .packed = packed,
          .packed_backward = nullptr,
          .bias = bias,
          .level = level,
          .relu_output = nullptr,
          .nats = nats,
          .grad_x = nullptr,
          .grad_weight = nullptr,
          .grad_bias = nullptr,
          .shape = shape};
}

}  // namespace

void CudaOpsTest::likelihood() {
  HeadCase head(random_, 6, false);
  if (random_.chance(0.2))
    head.x[random_.integer(0, 3) % head.x.size()] = random_.chance(0.5) ? NAN : INFINITY;
  if (random_.chance(0.1)) head.bias[0] = -INFINITY;
  const std::string name = head.name("likelihood");
  std::vector<double> expected(head.n);
  const std::vector<std::byte> cpu_packed = pack_on_cpu(head.cpu_shape(), Direction::kForward, head.weight);
  run_on_cpu(likelihood_op(head.cpu_head(), head.x.data(), cpu_packed.data(), head.bias.data(),
                           head.level.data(), expected.data()));

  const DeviceBuffer<std::byte> x(to_storage(head.x, head.precision)),
      packed(pack_on_device(head, Direction::kForward, gpu_));
  const DeviceBuffer<float> bias(head.bias);
  const DeviceBuffer<uint8_t> level(head.level);
  const DeviceBuffer<double> nats(head.n);
  run_on_device(likelihood_op(head.head(), x, packed, bias, level, nats), gpu_);
  const std::vector<double> result = nats.read();
  report.check(close(result, expected, 1e-5), name + ": nats");

  // An image has the same bits alone.
  const int64_t pixels = int64_t{head.h} * head.w, image = random_.integer(0, head.n - 1);
  const std::vector<float> one(head.x.begin() + image * pixels * head.c,
                               head.x.begin() + (image + 1) * pixels * head.c);
  const std::vector<uint8_t> one_level(head.level.begin() + image * pixels * head.channels,
                                       head.level.begin() + (image + 1) * pixels * head.channels);
  const DeviceBuffer<std::byte> one_x(to_storage(one, head.precision));
  const DeviceBuffer<uint8_t> device_level(one_level);
  const DeviceBuffer<double> one_nats(1);
  HeadShape one_head = head.head();
  one_head.n = 1;
  run_on_device(likelihood_op(one_head, one_x, packed, bias, device_level, one_nats), gpu_);
  const double alone = one_nats.read()[0];
  report.check(std::memcmp(&alone, &result[image], sizeof alone) == 0 ||
                   (std::isnan(alone) && std::isnan(result[image])),
               name + ": an image alone");
}

void CudaOpsTest::training() {
  const HeadCase head(random_, 6, false);
  const MaskedConv2dShape shape = head.shape(), cpu_shape = head.cpu_shape();
  const bool after_relu = random_.chance(0.6);
  const std::string name = head.name("training") + (after_relu ? "" : " not after a ReLU");
  const int64_t pixels = int64_t{head.n} * head.h * head.w;
  const float scale = gradient_scale(head.precision, pixels);

  // The CPU's logits, rounded to storage; their gradient, rounded to what the gradient products see.
  const std::vector<std::byte> cpu_forward = pack_on_cpu(cpu_shape, Direction::kForward, head.weight),
                               cpu_backward = pack_on_cpu(cpu_shape, Direction::kBackward, head.weight);
  std::vector<float> logits(shape.y_count());
  run_on_cpu(MaskedConv2d{.x = head.x.data(),
                          .packed = cpu_forward.data(),
                          .bias = head.bias.data(),
                          .add = nullptr,
                          .position = nullptr,
                          .y = logits.data(),
                          .shape = cpu_shape,
                          .region = {},
                          .relu = 0});
  reference::Doubles stored_logits(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) stored_logits[i] = stored(logits[i], head.precision);
  const reference::CrossEntropy expected = reference::cross_entropy(
      stored_logits, head.level.data(), head.n, int64_t{head.h} * head.w * head.channels, head.levels);
  std::vector<float> gradient(logits.size()), grad_bias(shape.k), unused_grad_bias(shape.k),
      grad_x(head.x.size()), grad_weight(head.weight.size());
  for (size_t i = 0; i < gradient.size(); ++i)
    gradient[i] = rounded(static_cast<float>(expected.grad_logits[i] * scale), head.precision) / scale;
  run_on_cpu(MaskedConv2dBackwardInput{gradient.data(), cpu_backward.data(), nullptr,
                                       after_relu ? head.x.data() : nullptr, grad_x.data(), cpu_shape});
  run_on_cpu(MaskedConv2dBackwardWeight{head.x.data(), gradient.data(), grad_weight.data(),
                                        unused_grad_bias.data(), cpu_shape});

  // The bias gradient is a plain sum of what is stored; a sum that cancels is as good as its terms.
  double gradient_norm = 0;
  for (size_t i = 0; i < gradient.size(); ++i) {
    const float g = stored(static_cast<float>(expected.grad_logits[i] * scale), head.precision) / scale;
    grad_bias[i % shape.k] += g;
    gradient_norm += double{g} * g;
  }
  gradient_norm = std::sqrt(gradient_norm);

  const DeviceBuffer<std::byte> x(to_storage(head.x, head.precision)),
      forward(pack_on_device(head, Direction::kForward, gpu_)),
      backward(pack_on_device(head, Direction::kBackward, gpu_));
  const DeviceBuffer<float> bias(head.bias);
  const DeviceBuffer<uint8_t> level(head.level);
  std::vector<std::byte> first_grad_x;
  std::vector<float> first_grad_weight;
  for (int round = 0; round < 2; ++round) {
    const DeviceBuffer<double> nats(head.n);
    const DeviceBuffer<std::byte> device_grad_x(shape.x_count() * element_bytes(head.precision));
    const DeviceBuffer<float> device_grad_weight(shape.weight_count()), device_grad_bias(shape.k);
    SoftmaxCrossEntropy op = likelihood_op(head.head(), x, forward, bias, level, nats);
    op.packed_backward = backward;
    op.relu_output = after_relu ? static_cast<const std::byte*>(x) : nullptr;
    op.grad_x = device_grad_x, op.grad_weight = device_grad_weight, op.grad_bias = device_grad_bias;
    run_on_device(op, gpu_);
    const std::vector<std::byte> grad_x_bytes = device_grad_x.read();
    const std::vector<float> result_weight = device_grad_weight.read();
    if (round == 1) {
      report.check(same_bits(grad_x_bytes, first_grad_x) && same_bits(result_weight, first_grad_weight),
                   name + ": the same bits again");
      break;
    }
    first_grad_x = grad_x_bytes, first_grad_weight = result_weight;
    std::vector<float> result_x = from_storage(grad_x_bytes, head.precision);
    for (float& value : result_x) value /= scale;
    // Where a logit or a gradient lies at the edge between two numbers of the storage, it may fall to either.
    const double tolerances[] = {1e-5, 3e-4, 0x1p-8, 0x1p-11};
    const double tolerance = tolerances[static_cast<int>(head.precision)];
    double worst = 0;
    report.check(close(nats.read(), expected.nats, tolerance), name + ": nats");
    report.check_error(relative_distance(result_x, grad_x), tolerance, name + ": grad_x", worst);
    report.check_error(relative_distance(result_weight, grad_weight, gradient_norm), tolerance,
                       name + ": grad_weight", worst);
    report.check_error(relative_distance(device_grad_bias.read(), grad_bias, gradient_norm), tolerance,
                       name + ": grad_bias", worst);
  }
}

}  // namespace pixelcnn::test
