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
  const int n = random_.integer(1, 3), h = random_.integer(1, 4), w = random_.integer(1, 6),
            c = random_.chance(0.4) ? 8 * random_.integer(1, 9) : random_.integer(1, 70),
            groups = random_.chance(0.5) ? 1 : random_.integer(1, std::min(c, 9));
  const Precision precision = random_precision();
  const int64_t element = element_bytes(precision), gates = int64_t{n} * h * w * c;
  const std::string name = "gate n=" + std::to_string(n) + " h=" + std::to_string(h) +
                           " w=" + std::to_string(w) + " c=" + std::to_string(c) +
                           " groups=" + std::to_string(groups) + " " + name_of(precision);
  const auto run_images = [&](const std::vector<float>& x) {
    const DeviceBuffer<std::byte> device_x(to_storage(x, precision)), y(gates * element);
    run_on_device(GatedActivation{device_x, nullptr, y, n, h, w, c, groups, precision, {}}, gpu_);
    return y.read();
  };

  const std::vector<float> x = gate_halves(2 * gates, precision, false);
  std::vector<float> on_cpu(gates);
  run_on_cpu(GatedActivation{x.data(), nullptr, on_cpu.data(), n, h, w, c, groups, Precision::kF32, {}});
  std::vector<double> expected(gates);
  for (int64_t i = 0; i < gates; ++i) expected[i] = std::tanh(double{x[2 * i]}) * sigmoid(x[2 * i + 1]);
  const std::vector<float> y = from_storage(run_images(x), precision);
  report.check(close(y, in_float64(on_cpu), precision), name + ": the CPU's");
  report.check(close(y, expected, precision), name + ": in float64");

  // In regions, NaN could have another sign.
  const std::vector<float> finite = gate_halves(2 * gates, precision, true);
  const std::vector<std::byte> image = run_images(finite);
  for (const auto which : {Region::Pixels::kFront, Region::Pixels::kRow}) {
    const Region region = {.pixels = which,
                           .pad = random_.integer(0, 2),
                           .slope = random_.integer(1, 4),
                           .ahead = random_.integer(0, 3)};
    const auto padded = [&](const std::vector<std::byte>& pixels, int64_t channels) {
      return pad_image(pixels, n, h, w, channels * element, region.pad);
    };
    const DeviceBuffer<std::byte> device_x(padded(to_storage(finite, precision), 2 * c));
    const DeviceBuffer<std::byte> device_y(padded(std::vector<std::byte>(gates * element), c));
    const auto run_everywhere = [&](int group) {
      for (int32_t t = -1; t <= region.slope * h + w; ++t) {
        const DeviceBuffer<int32_t> position(std::vector<int32_t>{t - region.ahead});
        GatedActivation op = {device_x, position, device_y, n, h, w, c, groups, precision, region};
        op.region.group = group;
        run_on_device(op, gpu_);
      }
    };
    // One group alone, then all that are left.
    const int alone = random_.integer(0, groups - 1);
    std::vector<std::byte> of_group(image.size());
    for (int64_t i = 0; i < gates; ++i) {
      if (i % c * groups / c == alone)
        std::copy_n(image.begin() + i * element, element, of_group.begin() + i * element);
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
    report.check(same_bits(device_y.read(), padded(image, c)), of_region);
  }
}

void CudaOpsTest::gate_gradient() {
  const int count = random_.integer(1, random_.chance(0.2) ? 9000 : 300);
  const Precision precision = random_precision();
  const std::vector<float> x = gate_halves(2 * int64_t{count}, precision, false);
  std::vector<float> grad_y = normals(count, random_.chance(0.5) ? 1 : 1e-3f);
  for (float& value : grad_y) value = random_.chance(0.03) ? NAN : stored(value, precision);
  std::vector<float> on_cpu(2 * int64_t{count});
  run_on_cpu(GatedActivationBackward{x.data(), grad_y.data(), on_cpu.data(), count});
  std::vector<double> expected(2 * int64_t{count});
  for (int i = 0; i < count; ++i) {
    // 1 - tanh^2 and sigmoid * (1 - sigmoid), without their cancellation.
    const double a = x[2 * i], b = x[2 * i + 1], of_tanh = std::pow(std::cosh(a), -2),
                 of_sigmoid = 1 / (2 + 2 * std::cosh(b));
    expected[2 * i] = grad_y[i] * sigmoid(b) * of_tanh;
    expected[2 * i + 1] = grad_y[i] * std::tanh(a) * of_sigmoid;
  }

  const DeviceBuffer<std::byte> device_x(to_storage(x, precision)),
      device_grad_y(to_storage(grad_y, precision)), grad_x(2 * count * element_bytes(precision));
  run_on_device(GatedActivationBackward{device_x, device_grad_y, grad_x, count, precision}, gpu_);
  const std::vector<float> result = from_storage(grad_x.read(), precision);
  const std::string name = "gate gradient count=" + std::to_string(count) + " " + name_of(precision);
  report.check(close(result, in_float64(on_cpu), precision), name + ": the CPU's");
  report.check(close(result, expected, precision), name + ": in float64");
}

}  // namespace pixelcnn::test
