// Compares the gate and its gradient on the CUDA backend with the CPU backend and with formulas in float64,
// and the gates of the sampler's regions with those of whole images.
#include <cmath>

#include "cuda_ops_test.h"

namespace pixelcnn::test {

namespace {

// The rounding of the storage, and a few of float32.
double relative_error(Precision precision) {
  const double storage = precision == Precision::kBf16 ? 0x1p-8 : precision == Precision::kF16 ? 0x1p-11 : 0;
  return storage + (storage > 0 ? 2e-5 : 1e-6);
}
// The smallest float16 is 2^-24. Below 1e-36 float32 loses bits.
double absolute_error(Precision precision) { return precision == Precision::kF16 ? 0x1p-24 : 1e-36; }

bool close(const std::vector<float>& result, const std::vector<double>& expected, Precision precision) {
  for (size_t i = 0; i < result.size(); ++i) {
    const bool same = std::isnan(expected[i]) ? std::isnan(result[i])
                                              : std::fabs(result[i] - expected[i]) <=
                                                    relative_error(precision) * std::fabs(expected[i]) +
                                                        absolute_error(precision);
    if (same) continue;
    std::printf("  element %d: %.9g, not %.9g\n", static_cast<int>(i), result[i], expected[i]);
    return false;
  }
  return true;
}

std::vector<double> in_float64(const std::vector<float>& values) { return {values.begin(), values.end()}; }

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

// Values of any size: where tanh is its argument, where it curves, and where it is 1.
std::vector<float> CudaOpsTest::gate_halves(int64_t count, Precision precision, bool finite) {
  std::vector<float> values(count);
  for (float& value : values) {
    const float scales[] = {1e-20f, 1e-3f, 0.3f, 1, 1, 10, 60, 1e4f},
                odd_ones[] = {NAN, INFINITY, -INFINITY, -0.f};
    value = random_.normal() * scales[random_.integer(0, 7)];
    if (!finite && random_.chance(0.05)) value = odd_ones[random_.integer(0, 3)];
    value = stored(value, precision);
  }
  return values;
}

void CudaOpsTest::gate() {
  const ImageCase images(random_, 72);
  const int n = images.n, h = images.h, w = images.w, c = images.c;
  const Precision precision = images.precision;
  const int groups = random_.chance(0.5) ? 1 : random_.integer(1, std::min(c, 9));
  const bool with_condition = random_.chance(0.6), per_pixel = with_condition && random_.chance(0.5);
  const int64_t gates = images.count(), rows = condition_rows(per_pixel, n, h, w);
  const std::string name = images.name("gate") + " groups=" + std::to_string(groups) +
                           (per_pixel        ? ", a condition for each pixel"
                            : with_condition ? ", a condition for each image"
                                             : "");
  struct Operands {
    std::vector<float> x, condition;
    DeviceBuffer<std::byte> device_x, device_condition;
  };
  const auto operands = [&](bool finite) {
    std::vector<float> x = gate_halves(2 * gates, precision, finite),
                       condition = gate_halves(2 * c * rows, precision, finite);
    return Operands{x, condition, DeviceBuffer<std::byte>(to_storage(x, precision)),
                    DeviceBuffer<std::byte>(to_storage(condition, precision))};
  };
  const auto op_of = [&](const Operands& from, const void* x, void* y, const int32_t* position,
                         const Region& region) {
    std::byte* condition = with_condition ? from.device_condition : static_cast<std::byte*>(nullptr);
    return GatedActivation{x, condition, position, y, n, h, w, c, groups, per_pixel, precision, region};
  };
  const auto run_images = [&](const Operands& from) {
    const DeviceBuffer<std::byte> y(gates * element_bytes(precision));
    run_on_device(op_of(from, from.device_x, y, nullptr, {}), gpu_);
    return y.read();
  };

  const Operands any = operands(false);
  std::vector<float> on_cpu(gates);
  run_on_cpu(GatedActivation{any.x.data(),
                             with_condition ? any.condition.data() : nullptr,
                             nullptr,
                             on_cpu.data(),
                             n,
                             h,
                             w,
                             c,
                             groups,
                             per_pixel,
                             Precision::kF32,
                             {}});
  std::vector<double> expected(gates);
  const auto half = [&](int64_t i) {
    return with_condition ? any.x[i] + any.condition[images.of_condition(i, per_pixel, 2 * c)] : any.x[i];
  };
  for (int64_t i = 0; i < gates; ++i) expected[i] = std::tanh(double{half(2 * i)}) * sigmoid(half(2 * i + 1));
  const std::vector<float> y = from_storage(run_images(any), precision);
  report.check(close(y, in_float64(on_cpu), precision), name + ": the CPU's");
  report.check(close(y, expected, precision), name + ": in float64");

  // In regions, NaN could have another sign.
  const Operands finite = operands(true);
  check_regions(
      name, images, groups, to_storage(finite.x, precision), 2 * c, run_images(finite),
      [&](const Region& region, const int32_t* position, const std::byte* padded_x, std::byte* padded_y) {
        run_on_device(op_of(finite, padded_x, padded_y, position, region), gpu_);
      });
}

void CudaOpsTest::check_regions(const std::string& name, const ImageCase& images, int groups,
                                const std::vector<std::byte>& x, int x_channels,
                                const std::vector<std::byte>& y, const RunRegion& run) {
  const int n = images.n, h = images.h, w = images.w, c = images.c;
  const int64_t element = element_bytes(images.precision);
  for (const auto which : {Region::Pixels::kFront, Region::Pixels::kRow}) {
    const Region region = {.pixels = which,
                           .pad = random_.integer(0, 2),
                           .slope = random_.integer(1, 4),
                           .ahead = random_.integer(0, 3)};
    const auto padded = [&](const std::vector<std::byte>& pixels, int64_t channels) {
      return pad_image(pixels, n, h, w, channels * element, region.pad);
    };
    const DeviceBuffer<std::byte> device_x(padded(x, x_channels));
    const DeviceBuffer<std::byte> device_y(padded(std::vector<std::byte>(y.size()), c));
    const auto run_everywhere = [&](int group) {
      for (int32_t t = -1; t <= region.slope * h + w; ++t) {
        const DeviceBuffer<int32_t> position(std::vector<int32_t>{t - region.ahead});
        Region of_group = region;
        of_group.group = group;
        run(of_group, position, device_x, device_y);
      }
    };
    // One group alone, then all that are left.
    const int alone = random_.integer(0, groups - 1);
    std::vector<std::byte> of_group(y.size());
    for (int64_t i = 0; i < images.count(); ++i) {
      if (i % c * groups / c == alone)
        std::copy_n(y.begin() + i * element, element, of_group.begin() + i * element);
    }
    const std::string of_region = name + (which == Region::Pixels::kRow ? ": rows" : ": fronts");
    run_everywhere(alone);
    report.check(same_bits(device_y.read(), padded(of_group, c)), of_region + " of one group");
    if (random_.chance(0.5)) {
      run_everywhere(Region::kAllGroups);
    } else {
      for (int group = 0; group < groups; ++group) {
        if (group != alone) run_everywhere(group);
      }
    }
    report.check(same_bits(device_y.read(), padded(y, c)), of_region);
  }
}

void CudaOpsTest::gate_gradient() {
  const ImageCase images(random_, random_.chance(0.1) ? 400 : 40);
  const int n = images.n, h = images.h, w = images.w, c = images.c;
  const Precision precision = images.precision;
  const bool with_condition = random_.chance(0.6), per_pixel = with_condition && random_.chance(0.5);
  const int64_t gates = images.count();
  const std::vector<float> x = gate_halves(2 * gates, precision, false),
                           condition =
                               gate_halves(2 * c * condition_rows(per_pixel, n, h, w), precision, false);
  std::vector<float> grad_y = normals(gates, random_.chance(0.5) ? 1 : 1e-3f);
  for (float& value : grad_y) value = random_.chance(0.03) ? NAN : stored(value, precision);
  std::vector<float> on_cpu(2 * gates);
  run_on_cpu(GatedActivationBackward{x.data(), with_condition ? condition.data() : nullptr, grad_y.data(),
                                     on_cpu.data(), n, h, w, c, per_pixel});
  std::vector<double> expected(2 * gates);
  const auto half = [&](int64_t i) -> double {
    return with_condition ? x[i] + condition[images.of_condition(i, per_pixel, 2 * c)] : x[i];
  };
  for (int64_t i = 0; i < gates; ++i) {
    // 1 - tanh^2 and sigmoid * (1 - sigmoid), without their cancellation.
    const double a = half(2 * i), b = half(2 * i + 1), of_tanh = std::pow(std::cosh(a), -2),
                 of_sigmoid = 1 / (2 + 2 * std::cosh(b));
    expected[2 * i] = grad_y[i] * sigmoid(b) * of_tanh;
    expected[2 * i + 1] = grad_y[i] * std::tanh(a) * of_sigmoid;
  }

  const DeviceBuffer<std::byte> device_x(to_storage(x, precision)),
      device_condition(to_storage(condition, precision)), device_grad_y(to_storage(grad_y, precision)),
      grad_x(2 * gates * element_bytes(precision));
  std::byte* condition_or_null = with_condition ? device_condition : static_cast<std::byte*>(nullptr);
  run_on_device(GatedActivationBackward{device_x, condition_or_null, device_grad_y, grad_x, n, h, w, c,
                                        per_pixel, precision},
                gpu_);
  const std::vector<float> result = from_storage(grad_x.read(), precision);
  const std::string name =
      images.name("gate gradient") + (with_condition ? " condition" : "") + (per_pixel ? " per pixel" : "");
  report.check(close(result, in_float64(on_cpu), precision), name + ": the CPU's");
  report.check(close(result, expected, precision), name + ": in float64");
}

}  // namespace pixelcnn::test
