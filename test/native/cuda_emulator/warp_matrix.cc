// Emulates the tensor-core instructions mma.sync and ldmatrix, with the fragment layouts of the PTX
// manual.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "../../../cuda/gpu.h"
#include "grid.h"

namespace emulator {

namespace {

using pixelcnn::cuda::bf16;
using pixelcnn::cuda::f16;
struct tf32 {};

struct Fragments {
  const uint32_t *a, *b;
};

// The two 16-bit numbers of a register.
template <class T>
float low(uint32_t pair) {
  return pixelcnn::cuda::to_float(T{static_cast<uint16_t>(pair & 0xffffu)});
}
template <class T>
float high(uint32_t pair) {
  return pixelcnn::cuda::to_float(T{static_cast<uint16_t>(pair >> 16)});
}

// The bits of an addend that a tensor core keeps, from the largest addend's first one on.
constexpr int kAddendBits = 25;

// Cut, not rounded. Infinities and what is too large for a float stay what a conversion makes of them.
float cut_to_float(double value) {
  const float rounded = static_cast<float>(value);
  const bool away = std::isfinite(rounded) && std::abs(double{rounded}) > std::abs(value);
  return away ? std::nextafter(rounded, 0.f) : rounded;
}

// The sum as a tensor core is known to make it: addends lose what lies below the largest one's last bit.
float truncating_sum(const double* addends, int count) {
  double largest = 0, exact = 0;
  for (int i = 0; i < count; ++i) {
    largest = std::max(largest, std::abs(addends[i]));
    exact += addends[i];
  }
  if (largest == 0 || !std::isfinite(exact)) return static_cast<float>(exact);
  const int shift = kAddendBits - 1 - std::ilogb(largest);
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += std::trunc(std::ldexp(addends[i], shift));
  return cut_to_float(std::ldexp(sum, -shift));
}

// d (16x8) += a (16 x depth) * b (depth x 8): products and sums are exact, rounded once; or truncating sums.
template <class T, int depth>
void multiply(Lane* lanes, uint32_t) {
  double a[16][depth], b[depth][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& in = *static_cast<const Fragments*>(lanes[lane].in);
    const int g = lane / 4, t = lane % 4;
    if constexpr (std::is_same_v<T, tf32>) {  // the hardware ignores the low bits
      const auto number = [](uint32_t bits) { return pixelcnn::cuda::float_of_bits(bits & ~0x1fffu); };
      for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][t + r / 2 * 4] = number(in.a[r]);
      for (int r = 0; r < 2; ++r) b[t + r * 4][g] = number(in.b[r]);
    } else {
      for (int r = 0; r < depth / 4; ++r) {
        double* const pair = &a[g + r % 2 * 8][2 * t + r / 2 * 8];
        pair[0] = low<T>(in.a[r]);
        pair[1] = high<T>(in.a[r]);
      }
      for (int r = 0; r < depth / 8; ++r) {
        b[2 * t + r * 8][g] = low<T>(in.b[r]);
        b[2 * t + r * 8 + 1][g] = high<T>(in.b[r]);
      }
    }
  }
  float d[16][8];
  for (int row = 0; row < 16; ++row) {
    double sum[8];
    for (int i = 0; i < 4; ++i) {
      const float* const old = static_cast<const float*>(lanes[row % 8 * 4 + i].out) + row / 8 * 2;
      sum[2 * i] = old[0];
      sum[2 * i + 1] = old[1];
    }
    if (options.truncating_sums) {
      for (int column = 0; column < 8; ++column) {
        double addends[depth + 1] = {sum[column]};
        for (int k = 0; k < depth; ++k) addends[k + 1] = a[row][k] * b[k][column];
        d[row][column] = truncating_sum(addends, depth + 1);
      }
      continue;
    }
    for (int k = 0; k < depth; ++k) {
      for (int column = 0; column < 8; ++column) sum[column] += a[row][k] * b[k][column];
    }
    for (int column = 0; column < 8; ++column) d[row][column] = static_cast<float>(sum[column]);
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* const out = static_cast<float*>(lanes[lane].out);
    for (int i = 0; i < 4; ++i) out[i] = d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

// The argument is 2 * count + transposed.
void load_matrices(Lane* lanes, uint32_t) {
  const int count = lanes[0].argument / 2;
  const bool transposed = lanes[0].argument % 2 != 0;
  uint16_t m[4][8][8];
  for (int i = 0; i < count * 8; ++i) std::memcpy(m[i / 8][i % 8], lanes[i].in, 16);
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < count; ++i) {
      const uint32_t low = transposed ? m[i][2 * t][g] : m[i][g][2 * t];
      const uint32_t high = transposed ? m[i][2 * t + 1][g] : m[i][g][2 * t + 1];
      static_cast<uint32_t*>(lanes[lane].out)[i] = low | high << 16;
    }
  }
}

constexpr uint32_t kAll = ~0u;

}  // namespace

void mma_m16n8k16_bf16(float* d, const uint32_t* a, const uint32_t* b, Site site) {
  const Fragments in{a, b};
  warp_instruction("mma m16n8k16 bf16", multiply<bf16, 16>, kAll, {&in, d, 0}, site);
}
void mma_m16n8k16_f16(float* d, const uint32_t* a, const uint32_t* b, Site site) {
  const Fragments in{a, b};
  warp_instruction("mma m16n8k16 f16", multiply<f16, 16>, kAll, {&in, d, 0}, site);
}
void mma_m16n8k8_f16(float* d, uint32_t a0, uint32_t a1, uint32_t b, Site site) {
  const uint32_t a[] = {a0, a1};
  const Fragments in{a, &b};
  warp_instruction("mma m16n8k8 f16", multiply<f16, 8>, kAll, {&in, d, 0}, site);
}
void mma_m16n8k8_tf32(float* d, const uint32_t* a, const uint32_t* b, Site site) {
  const Fragments in{a, b};
  warp_instruction("mma m16n8k8 tf32", multiply<tf32, 8>, kAll, {&in, d, 0}, site);
}

void ldmatrix(uint32_t* d, int count, bool transposed, const void* row, Site site) {
  {
    InEmulator mark;
    const Region* const region = find_region(row);
    if (region == nullptr || !region->shared()) {
      fail("ldmatrix at " + text(site) + ": not an address of shared memory, " + text(*grid.current));
    }
    if (lane() < count * 8) check_access(*grid.current, row, 16, Access::kRead, __builtin_return_address(0));
  }
  warp_instruction("ldmatrix", load_matrices, kAll, {row, d, count * 2 + transposed}, site);
}

}  // namespace emulator
