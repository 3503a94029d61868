// Compares what conditions need on the CUDA backend with the CPU backend: tables, their gradients, sums of
// activations and conditions, and sums over pixels.
#include <cmath>

#include "cuda_ops_test.h"

namespace pixelcnn::test {

namespace {

// Some indices lie beyond a table of so many rows.
std::vector<uint32_t> random_index(Random& random, int count, int rows) {
  std::vector<uint32_t> index(count);
  for (uint32_t& row : index)
    row = static_cast<uint32_t>(random.chance(0.05) ? random.integer(rows, INT32_MAX)
                                                    : random.integer(0, rows - 1));
  if (random.chance(0.2)) index[random.integer(0, count - 1)] = UINT32_MAX;
  return index;
}

int random_channels(Random& random) {
  return random.chance(0.4) ? 8 * random.integer(1, 12) : random.integer(1, 70);
}

}  // namespace

void CudaOpsTest::embedding() {
  const int count = random_.integer(1, 200), rows = random_.integer(1, 12), size = random_channels(random_);
  const Precision precision = random_precision();
  const std::vector<uint32_t> index = random_index(random_, count, rows);
  const std::vector<float> table = normals(int64_t{rows} * size);
  std::vector<float> y(int64_t{count} * size);
  run_on_cpu(Embedding{table.data(), index.data(), y.data(), count, rows, size});

  const DeviceBuffer<float> device_table(table);
  const DeviceBuffer<uint32_t> device_index(index);
  const DeviceBuffer<std::byte> device_y(int64_t{count} * size * element_bytes(precision));
  run_on_device(Embedding{device_table, device_index, device_y, count, rows, size, precision}, gpu_);
  report.check(same_bits(device_y.read(), to_storage(y, precision)),
               "embedding count=" + std::to_string(count) + " rows=" + std::to_string(rows) +
                   " size=" + std::to_string(size) + " " + name_of(precision));
}

// The order of the additions is given, so the bits are those of a plain loop.
void CudaOpsTest::embedding_gradient() {
  const int count = random_.integer(1, random_.chance(0.1) ? 3000 : 300), rows = random_.integer(1, 12),
            size = random_channels(random_);
  const Precision precision = random_precision();
  const std::vector<uint32_t> index = random_index(random_, count, rows);
  std::vector<float> grad_y = normals(int64_t{count} * size);
  for (float& value : grad_y) value = stored(value, precision);
  std::vector<float> expected(int64_t{rows} * size), on_cpu(expected.size());
  run_on_cpu(EmbeddingBackward{index.data(), grad_y.data(), on_cpu.data(), count, rows, size});
  for (int i = 0; i < count; ++i) {
    const int64_t row = std::min<int64_t>(index[i], rows - 1);
    for (int column = 0; column < size; ++column)
      expected[row * size + column] += grad_y[int64_t{i} * size + column];
  }
  if (precision == Precision::kF16) {
    for (std::vector<float>* sums : {&expected, &on_cpu}) {
      for (float& sum : *sums) sum *= 1 / std::exp2(std::floor(std::log2(static_cast<float>(count))));
    }
  }

  const DeviceBuffer<uint32_t> device_index(index);
  const DeviceBuffer<std::byte> device_grad_y(to_storage(grad_y, precision));
  const DeviceBuffer<float> grad_table(int64_t{rows} * size);
  run_on_device(EmbeddingBackward{device_index, device_grad_y, grad_table, count, rows, size, precision},
                gpu_);
  const std::vector<float> result = grad_table.read();
  const std::string name = "embedding gradient count=" + std::to_string(count) +
                           " rows=" + std::to_string(rows) + " size=" + std::to_string(size) + " " +
                           name_of(precision);
  report.check(same_bits(result, expected), name + ": in order");
  report.check(same_bits(result, on_cpu), name + ": the CPU's");
}

void CudaOpsTest::cast() {
  const int count = random_.integer(1, 3000);
  const Precision precision = random_precision();
  std::vector<float> x = normals(count);
  for (float& value : x) {
    const float odd_ones[] = {NAN, INFINITY, -0.f, 1e-7f, 7e4f, 3.4e38f};
    if (random_.chance(0.1)) value = odd_ones[random_.integer(0, 5)];
  }
  const DeviceBuffer<float> device_x(x);
  const DeviceBuffer<std::byte> y(count * element_bytes(precision));
  run_on_device(Cast{device_x, y, count, precision}, gpu_);
  report.check(same_bits(y.read(), to_storage(x, precision)),
               "cast count=" + std::to_string(count) + " " + name_of(precision));
}

void CudaOpsTest::condition() {
  const ImageCase images(random_, random_.chance(0.1) ? 400 : 72);
  const int n = images.n, h = images.h, w = images.w, c = images.c;
  const Precision precision = images.precision;
  const int groups = random_.chance(0.5) ? 1 : random_.integer(1, std::min(c, 9)),
            per_pixel = random_.integer(0, 1), relu = random_.integer(0, 1);
  const std::string name = images.name("condition") + " groups=" + std::to_string(groups) +
                           (per_pixel ? " per pixel" : "") + (relu ? " relu" : "");
  const auto values = [&](int64_t count, bool finite) {
    std::vector<float> result = normals(count);
    for (float& value : result) {
      if (random_.chance(0.1)) value = finite || random_.chance(0.5) ? -0.f : NAN;
      value = stored(value, precision);
    }
    return result;
  };
  const auto run = [&](const void* x, const void* condition, void* y, const int32_t* position,
                       const Region& region) {
    run_on_device(
        AddCondition{x, condition, position, y, n, h, w, c, groups, per_pixel, relu, precision, region},
        gpu_);
  };
  for (const bool finite : {false, true}) {
    const std::vector<float> x = values(images.count(), finite),
                             condition = values(c * condition_rows(per_pixel, n, h, w), finite);
    const DeviceBuffer<std::byte> device_x(to_storage(x, precision)),
        device_condition(to_storage(condition, precision)), y(images.count() * element_bytes(precision));
    run(device_x, device_condition, y, nullptr, {});
    if (!finite) {
      std::vector<float> on_cpu(images.count()), expected(images.count());
      run_on_cpu(AddCondition{x.data(),
                              condition.data(),
                              nullptr,
                              on_cpu.data(),
                              n,
                              h,
                              w,
                              c,
                              groups,
                              per_pixel,
                              relu,
                              Precision::kF32,
                              {}});
      for (int64_t i = 0; i < images.count(); ++i) {
        const float sum = x[i] + condition[images.of_condition(i, per_pixel, c)];
        expected[i] = relu && sum < 0 ? 0 : sum;
      }
      const std::vector<float> result = without_nan(from_storage(y.read(), precision));
      const auto as_stored = [&](const std::vector<float>& all) {
        return without_nan(from_storage(to_storage(all, precision), precision));
      };
      report.check(same_bits(result, as_stored(on_cpu)), name + ": the CPU's");
      report.check(same_bits(result, as_stored(expected)), name + ": a plain loop's");
    } else {
      check_regions(
          name, images, groups, to_storage(x, precision), c, y.read(),
          [&](const Region& region, const int32_t* position, const std::byte* padded_x, std::byte* padded_y) {
            run(padded_x, device_condition, padded_y, position, region);
          });
    }
  }
}

void CudaOpsTest::sum_pixels() {
  const int n = random_.integer(1, 5), c = random_channels(random_);
  const int pixels = random_.chance(0.1)   ? 1024 * random_.integer(1, 2) + random_.integer(-1, 1)
                     : random_.chance(0.1) ? random_.integer(500, 5000)
                                           : random_.integer(1, 120);
  const Precision precision = random_precision();
  const bool integers = random_.chance(0.5);  // whose sums are exact
  std::vector<float> x = normals(int64_t{n} * pixels * c);
  for (float& value : x)
    value = integers ? static_cast<float>(random_.integer(-2, 2)) : stored(value, precision);
  const auto sums_of = [&](const std::vector<float>& from, int images) {
    const DeviceBuffer<std::byte> device_x(to_storage(from, precision)),
        y(int64_t{images} * c * element_bytes(precision));
    run_on_device(SumPixels{device_x, y, images, pixels, c, precision}, gpu_);
    return y.read();
  };

  const std::vector<std::byte> bits = sums_of(x, n);
  const std::vector<float> y = from_storage(bits, precision);
  std::vector<float> on_cpu(int64_t{n} * c);
  run_on_cpu(SumPixels{x.data(), on_cpu.data(), n, pixels, c});
  const auto power_below = [](double value) { return std::exp2(std::floor(std::log2(value))); };
  const double scale =
      precision == Precision::kF16 ? power_below(n) / power_below(double{1} * n * pixels) : 1;
  bool close = true;
  for (int64_t i = 0; i < int64_t{n} * c; ++i) {
    double sum = 0, magnitude = 0;
    for (int pixel = 0; pixel < pixels; ++pixel) {
      const double value = x[(i / c * pixels + pixel) * c + i % c];
      sum += value, magnitude += std::fabs(value);
    }
    // The rounding of the storage, and of the longest chain of additions in float32: 32 of a thread, 32 of a
    // block, and the same again for the parts.
    const double storage = precision == Precision::kBf16  ? 0x1p-8
                           : precision == Precision::kF16 ? 0x1p-11
                                                          : 0;
    close &= std::fabs(y[i] - sum * scale) <= scale * (storage * std::fabs(sum) + 128 * 0x1p-24 * magnitude) +
                                                  (precision == Precision::kF16 ? 0x1p-24 : 0);
    on_cpu[i] = static_cast<float>(on_cpu[i] * scale);
  }
  const std::string name = "sum of pixels n=" + std::to_string(n) + " pixels=" + std::to_string(pixels) +
                           " c=" + std::to_string(c) + " " + name_of(precision);
  report.check(close, name + ": in float64");
  if (integers) report.check(same_bits(bits, to_storage(on_cpu, precision)), name + ": the CPU's");
  // In f16 the scale depends on the number of images.
  if (precision == Precision::kF16) return;
  const int64_t of_image = int64_t{pixels} * c;
  const std::vector<std::byte> last = sums_of({x.end() - of_image, x.end()}, 1);
  report.check(same_bits(last, {bits.end() - static_cast<int64_t>(last.size()), bits.end()}),
               name + ": the bits of an image alone");
}

}  // namespace pixelcnn::test
