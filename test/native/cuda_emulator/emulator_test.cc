// Tests the emulator: correct kernels pass, and every planted bug is reported. The runtime's cases are in
// the other files.
#include <bit>
#include <cmath>
#include <thread>
#include <utility>

#include "harness.h"
#include "matrix.h"
#include "planted.h"

namespace emulator_test {

using pixelcnn::cuda::bf16;
using pixelcnn::cuda::f16;
using pixelcnn::cuda::from_float;
using pixelcnn::cuda::to_float;

namespace {

// ---- kernels against plain loops ----

void check_convolution(Random& random, Plant plant) {
  // An odd width never fills the last block of 32 pixels.
  const Shape shape{random.integer(1, 2), random.integer(1, 9), 2 * random.integer(0, 4) + 1};
  const auto fill = [&](size_t count) {
    std::vector<bf16> values(count);
    for (bf16& value : values) value = from_float<bf16>(static_cast<float>(random.integer(-3, 3)));
    return values;
  };
  const std::vector<bf16> x = fill(shape.pixels() * 16), weights = fill(5 * 16 * 8);
  const Buffer<bf16> device_x(x, "x"), device_weights(weights, "weights"), y(shape.pixels() * 8, "y");
  convolve(device_x, device_weights, y, shape, plant);
  const std::vector<bf16> result = y.read();
  for (int pixel = 0; pixel < shape.pixels(); ++pixel) {
    const int row = pixel / shape.width % shape.height, column = pixel % shape.width;
    for (int k = 0; k < 8; ++k) {
      float sum = 0;
      for (int tap = 0; tap < 5; ++tap) {
        const int dy = tap / 3 - 1, dx = tap % 3 - 1;
        if (row + dy < 0 || column + dx < 0 || column + dx >= shape.width) continue;
        for (int c = 0; c < 16; ++c) {
          sum += to_float(x[(pixel + dy * shape.width + dx) * 16 + c]) *
                 to_float(weights[(tap * 16 + c) * 8 + k]);
        }
      }
      expect(result[pixel * 8 + k].bits == from_float<bf16>(sum).bits, "convolution");
    }
  }
}

void check_sum(Random& random, Plant plant) {
  std::vector<float> values(random.integer(1, 1000));
  float sum = 0;
  for (float& value : values) sum += value = static_cast<float>(random.integer(-9, 9));
  const Buffer<float> device_values(values, "values"), device_sum(1, "sum");
  sum_values(device_values, device_sum, static_cast<int>(values.size()), plant);
  expect(device_sum.read()[0] == sum, "sum");
}

void check_largest(Random& random, Plant plant) {
  const int rows = random.integer(3, 9);
  std::vector<float> values(rows * 32);
  for (float& value : values) value = static_cast<float>(random.integer(0, 100));
  const Buffer<float> device_values(values, "values");
  const Buffer<uint8_t> largest(rows, "largest");
  find_largest(device_values, largest, rows, plant);
  const std::vector<uint8_t> result = largest.read();
  for (int row = 0; row < rows; ++row) {
    const auto begin = values.begin() + row * 32;
    expect(result[row] == std::max_element(begin, begin + 32) - begin, "largest");
  }
}

void check_wavefront(Random& random, Plant plant) {
  const int height = random.integer(2, 40), width = random.integer(2, 9);
  const Buffer<uint8_t> image(height * width, "image");
  run_wavefront(image, height, width, plant);
  const std::vector<uint8_t> result = image.read();
  std::vector<uint8_t> expected(height * width);
  for (int i = 0; i < height; ++i) {
    for (int j = 0; j < width; ++j) {
      const int left = j > 0 ? expected[i * width + j - 1] : 0;
      const int above = i > 0 && j + 1 < width ? expected[(i - 1) * width + j + 1] : 0;
      expected[i * width + j] = static_cast<uint8_t>((left + 3 * above + 1) % 251);
    }
  }
  expect(result == expected, "wavefront");
}

void check_passing(Random&, Plant plant) {
  const Buffer<int> values(256, "values"), out(256, "out"), lanes(32, "lanes");
  if (plant != Plant::kNoWarpBarrier) {
    pass_between_blocks(values, out, plant);
    const std::vector<int> result = out.read();
    for (int i = 0; i < 256; ++i) expect(result[i] == (i + 64) % 256, "passing between blocks");
  }
  pass_between_lanes(lanes, plant);
  const std::vector<int> result = lanes.read();
  for (int i = 0; i < 32; ++i) expect(result[i] == 31 - i, "passing between lanes");
}

void check_counts(Random& random, Plant plant) {
  std::vector<uint8_t> levels(200);
  std::vector<int> expected(4);
  for (uint8_t& level : levels) ++expected[level = static_cast<uint8_t>(random.integer(0, 3))];
  const Buffer<uint8_t> device_levels(levels, "levels");
  const Buffer<int> counts(std::vector<int>(4), "counts");
  count_levels(device_levels, counts, 200, plant);
  expect(counts.read() == expected, "counts");
}

void check_vector(Random&, Plant plant) {
  const Buffer<float> from(std::vector<float>(8, 2.f), "from"), to(4, "to");
  copy_vector(from, to, plant);
  expect(to.read() == std::vector<float>(4, 2.f), "vector");
}

void check_product(Random& random, Instruction instruction, bool transposed) {
  const int depth = depth_of(instruction);
  std::vector<float> a(16 * depth), b(depth * 8);
  for (auto* values : {&a, &b}) {
    for (float& value : *values) value = static_cast<float>(random.integer(-64, 64)) / 16;
  }
  const Buffer<float> device_a(a, "a"), device_b(b, "b"), d(128, "d");
  multiply_tile(instruction, transposed, device_a, device_b, d);
  const std::vector<float> result = d.read();
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      float sum = 0;
      for (int k = 0; k < depth; ++k) sum += a[i * depth + k] * b[k * 8 + j];
      expect(result[i * 8 + j] == sum, "product");
    }
  }
}

// The addends of each element: 1 or -1, then products of 2^first * 2^second; the depth of the instruction in
// all.
float sum_of(Instruction instruction, float one, int first, int second) {
  const int depth = depth_of(instruction);
  std::vector<float> a(16 * depth, std::ldexp(1.f, first)), b(depth * 8, std::ldexp(1.f, second));
  for (int i = 0; i < 16; ++i) a[i * depth] = one;
  for (int j = 0; j < 8; ++j) b[j] = 1;
  const Buffer<float> device_a(a, "a"), device_b(b, "b"), d(128, "d");
  multiply_tile(instruction, false, device_a, device_b, d);
  const std::vector<float> result = d.read();
  expect(std::count(result.begin(), result.end(), result[0]) == 128, "all elements are the same");
  return result[0];
}

void check_truncation(Instruction instruction) {
  constexpr float kUlp = 0x1p-23f;  // of 1
  const auto small = static_cast<float>(depth_of(instruction) - 1);
  const auto exact = [&](int first, int second) { return sum_of(instruction, 1, first, second); };
  const auto cut = [&](float one, int first, int second) {
    const bool before = std::exchange(emulator::options.truncating_sums, true);
    const float sum = sum_of(instruction, one, first, second);
    emulator::options.truncating_sums = before;
    return sum;
  };
  // Each is below the last bit that is kept: all are lost. Exact, they are a quarter of the result's last bit
  // each.
  expect(exact(-12, -13) == 1 + std::nearbyint(small / 4) * kUlp, "exact, small addends");
  expect(cut(1, -12, -13) == 1, "truncated, small addends");
  // Each is that bit, and half of the result's last one: the odd half is cut, where it would be rounded up.
  expect(exact(-12, -12) == 1 + std::nearbyint(small / 2) * kUlp, "exact, sum");
  expect(cut(1, -12, -12) == 1 + std::floor(small / 2) * kUlp, "truncated, sum");
  // Towards zero on the other side of it.
  expect(cut(-1, -12, -13) == -1, "truncated, negative");
  // Without anything to cut it is the same.
  expect(cut(1, -3, -3) == exact(-3, -3), "sums that fit");
}

void check_formats() {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(f16{static_cast<uint16_t>(bits)});
    const auto theirs = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    expect(std::isnan(theirs) ? std::isnan(value) : value == theirs, "f16 to float");
    if (std::isnan(value)) continue;
    expect(from_float<f16>(value).bits == bits, "float to f16");
    expect(from_float<bf16>(to_float(bf16{static_cast<uint16_t>(bits)})).bits == bits ||
               std::isnan(to_float(bf16{static_cast<uint16_t>(bits)})),
           "bf16 and back");
    const float next = to_float(f16{static_cast<uint16_t>(bits + 1)});
    for (const float part : {0.25f, 0.5f, 0.75f}) {
      const float between = value + (next - value) * part;
      if (!std::isfinite(between)) continue;
      expect(from_float<f16>(between).bits == std::bit_cast<uint16_t>(static_cast<_Float16>(between)),
             "rounding to f16");
    }
  }
  expect(from_float<f16>(65520.f).bits == 0x7c00 && from_float<f16>(1e9f).bits == 0x7c00, "f16 infinity");
  expect(from_float<bf16>(1.00390625f).bits == 0x3f80 && from_float<bf16>(1.01171875f).bits == 0x3f82,
         "bf16 ties to even");
}

// ---- planted bugs ----

using Check = void (*)(Random&, Plant);
struct Bug {
  const char* name;
  Plant plant;
  Check check;
  const char* checked;  // what the checked build says in every schedule
  const char* plain;    // what every build says in every schedule; null: not all of them notice
};
constexpr Bug kBugs[] = {
    {"no barrier after cp.async wait", Plant::kNoBarrierAfterCopy, check_convolution, "planted_kernels.cu",
     nullptr},
    {"no barrier before tile reuse", Plant::kNoBarrierBeforeReuse, check_convolution, "race on byte",
     nullptr},
    {"forgotten cp.async wait", Plant::kNoCopyWait, check_convolution, "uninitialised byte", nullptr},
    {"wrong tap", Plant::kWrongTap, check_convolution, "wrong result: convolution",
     "wrong result: convolution"},
    {"one pixel too many", Plant::kPixelTooMany, check_convolution, "out of bounds, byte", "out of bounds"},
    {"one element too far", Plant::kElementTooFar, check_convolution, "out of bounds, byte", "out of bounds"},
    {"unwritten shared row", Plant::kUnwrittenRow, check_convolution, "uninitialised byte", "wrong result"},
    {"wrong mma fragment", Plant::kWrongFragment, check_convolution, "wrong result", "wrong result"},
    {"no barrier before block sum", Plant::kNoBarrierBeforeSum, check_sum, "planted_kernels.cu", nullptr},
    {"divergent barrier", Plant::kDivergentBarrier, check_sum, "divergent barrier", "divergent barrier"},
    {"shuffle in a divergent branch", Plant::kDivergentShuffle, check_sum,
     "planted_kernels.cu:", "planted_kernels.cu:"},
    {"a lane of the mask has ended", Plant::kLaneEnded, check_largest, "ended", "ended"},
    {"two blocks write one element", Plant::kTwoWriters, check_largest, "race on byte", nullptr},
    {"no barrier before the next step", Plant::kNoBarrierBeforeStep, check_wavefront, "planted_kernels.cu",
     nullptr},
    {"front one pixel too early", Plant::kFrontTooEarly, check_wavefront, "planted_kernels.cu", nullptr},
    {"forgotten grid barrier", Plant::kNoGridBarrier, check_passing, "planted_kernels.cu", nullptr},
    {"grid barrier in a plain launch", Plant::kNoCooperativeLaunch, check_passing,
     "without a cooperative launch", "without a cooperative launch"},
    {"missing __syncwarp", Plant::kNoWarpBarrier, check_passing, "planted_kernels.cu", nullptr},
    {"no atomics", Plant::kNoAtomics, check_counts, "race on byte", nullptr},
    // Unchecked, the host's own 16-byte load ends the process.
    {"misaligned float4", Plant::kMisaligned, check_vector, "misaligned access", nullptr},
};

void run_kernels(Cases& cases, int shapes) {
  constexpr Check kAll[] = {check_convolution, check_sum,    check_largest, check_wavefront,
                            check_passing,     check_counts, check_vector};
  for (uint64_t seed = 0; seed < 3; ++seed) {
    emulator::options.seed = seed;
    const std::string schedule = ", schedule " + std::to_string(seed);
    for (int i = 0; i < shapes; ++i) {
      for (size_t kernel = 0; kernel < std::size(kAll); ++kernel) {
        Random random(i);
        cases.run("kernel " + std::to_string(kernel) + schedule, "",
                  [&] { kAll[kernel](random, Plant::kNone); });
      }
      for (const auto instruction :
           {Instruction::kBf16, Instruction::kF16, Instruction::kF16Depth8, Instruction::kTf32}) {
        Random random(i);
        cases.run("mma" + schedule, "", [&] {
          check_product(random, instruction, false);
          check_product(random, instruction, true);
        });
        cases.run("truncating sums" + schedule, "", [&] { check_truncation(instruction); });
      }
      for (const Bug& bug : kBugs) {
        const char* const expected = emulator::checked() ? bug.checked : bug.plain;
        if (expected == nullptr) continue;
        Random random(i);
        cases.run(bug.name + schedule, expected, [&] { bug.check(random, bug.plant); });
      }
    }
  }
  emulator::options.seed = 0;
  cases.run("formats", "", check_formats);
}

// ---- pointers and memory ----

void run_memory(Cases& cases) {
  const bool checked = emulator::checked();
  cases.run("shared memory with permission", "", [] {
    const Buffer<float> out(32, "out");
    use_shared_memory(100 << 10, out, false);
    use_shared_memory(4 << 10, out, true);
    out.read();
  });
  cases.run("more shared memory than there is", "dynamic shared memory, allowed are 49152", [] {
    const auto before = emulator::options;
    emulator::options.capability = 75;
    const Buffer<float> out(32, "out");
    use_shared_memory(65 << 10, out, false);
    emulator::options = before;
    PIXELCNN_CUDA(cudaGetLastError());
  });
  cases.run("dynamic shared memory not given", "the launch gives none", [] {
    const Buffer<float> out(32, "out");
    use_shared_memory(0, out, false);
  });
  cases.run("out of memory, and afterwards", "", [] {
    void* memory = nullptr;
    expect(cudaMalloc(&memory, emulator::options.memory_bytes + 1) == cudaErrorMemoryAllocation,
           "out of memory");
    expect(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess,
           "last error");
    Random random(1);
    check_sum(random, Plant::kNone);
  });
  cases.run("copy out of bounds", "not all in one block", [] {
    const Buffer<float> block(4, "block");
    const std::vector<float> values(5);
    PIXELCNN_CUDA(cudaMemcpy(block, values.data(), 20, cudaMemcpyHostToDevice));
  });
  cases.run("freed twice", "freed before", [] {
    void* memory;
    PIXELCNN_CUDA(cudaMalloc(&memory, 4));
    PIXELCNN_CUDA(cudaFree(memory));
    PIXELCNN_CUDA(cudaFree(memory));
  });
  if (!checked) return;
  cases.run("output never written", "byte 128 of 132 was never written", [] {
    Buffer<int> lanes(33, "lanes");
    pass_between_lanes(lanes, Plant::kNone);
    lanes.read();
  });
  cases.run("host pointer", "host memory", [] {
    const std::vector<float> values(4);
    const Buffer<float> to(4, "to");
    copy_vector(values.data(), to, Plant::kNone);
  });
  cases.run("released memory", "which was released", [] {
    const Buffer<float> to(4, "to");
    const float* from = nullptr;
    {
      const Buffer<float> released(std::vector<float>(4), "gone");
      from = released;
    }
    copy_vector(from, to, Plant::kNone);
  });
  cases.run("host code reads device memory", "host code uses device memory, secret, at planted_kernels.cu",
            [] {
              const Buffer<float> secret(std::vector<float>(4), "secret");
              read_on_host(secret);
            });
}

void run_threads(Cases& cases) {
  cases.run("two threads at once", "", [] {
    std::string errors[2];
    const auto work = [&](int thread) {
      try {
        for (int i = 0; i < 20; ++i) {
          Random random(i);
          (thread == 0 ? check_convolution : check_largest)(random, Plant::kNone);
        }
      } catch (const std::exception& error) {
        errors[thread] = error.what();
      }
    };
    std::thread first(work, 0), second(work, 1);
    first.join();
    second.join();
    expect(errors[0].empty() && errors[1].empty(), errors[0] + errors[1]);
  });
}

}  // namespace
}  // namespace emulator_test

int main() {
  emulator_test::Cases cases;
  emulator_test::run_kernels(cases, 10);
  emulator_test::run_memory(cases);
  emulator_test::run_threads(cases);
  emulator_test::run_runtime(cases);
  emulator_test::run_clock(cases);
  emulator_test::run_deferred(cases);
  return cases.finish();
}
