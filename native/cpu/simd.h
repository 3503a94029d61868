// Defines the vectors of an instruction set (by the vector extensions of GCC and Clang) and the register
// blocking that suits it.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

// Unrolls a loop fully, so that arrays of vectors become registers.
#if defined(__clang__)
#define PIXELCNN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PIXELCNN_UNROLL _Pragma("GCC unroll 32")
#endif

namespace pixelcnn::cpu::PIXELCNN_ISA {

// kBlock*: the pixels x vectors of outputs that a convolution keeps in registers. kGemm*: the same for the
// matrix products of Winograd. kTileChannels: the input channels, times kBlockVectors, that a weight
// gradient keeps in registers. kRegisters: the vectors that the processor has.
#if defined(__AVX512F__)
inline constexpr int kLanes = 16, kBlockPixels = 14, kBlockVectors = 2, kGemmPixels = 7, kGemmVectors = 4;
inline constexpr int kTileChannels = 8, kRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8, kBlockPixels = 6, kBlockVectors = 2, kGemmPixels = 6, kGemmVectors = 2;
inline constexpr int kTileChannels = 6, kRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kLanes = 4, kBlockPixels = 6, kBlockVectors = 4, kGemmPixels = 6, kGemmVectors = 4;
inline constexpr int kTileChannels = 6, kRegisters = 32;
#else
inline constexpr int kLanes = 4, kBlockPixels = 4, kBlockVectors = 2, kGemmPixels = 4, kGemmVectors = 2;
inline constexpr int kTileChannels = 4, kRegisters = 16;
#endif

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVector __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t IntVector __attribute__((vector_size(kLanes * 4)));
typedef uint32_t UnsignedVector __attribute__((vector_size(kLanes * 4)));

// These replace std::min and std::max, whose out-of-line copies would be shared between instruction sets.
template <class T>
constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T larger(T a, T b) {
  return a < b ? b : a;
}
constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }
// Splits `total` items into `shares` parts as even as possible, and returns the first item of part `index`.
constexpr int64_t share_begin(int64_t total, int64_t index, int64_t shares) { return total * index / shares; }

inline Vector load(const float* p) { return *reinterpret_cast<const UnalignedVector*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<UnalignedVector*>(p) = v; }
inline Vector splat(float a) { return a - Vector{}; }

// Returns sum + a * load(p), with p as an operand of the instruction, so that it occupies no register.
inline Vector multiply_add_loaded(Vector sum, Vector a, const float* p) {
#if defined(__AVX512F__)
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(a), "m"(*reinterpret_cast<const UnalignedVector*>(p)));
  return sum;
#else
  return sum + a * load(p);
#endif
}

// Loads the first `count` lanes, at most all of them. The other lanes are `fill`, and their memory is not
// read.
inline Vector load_partial(const float* p, int count, float fill = 0) {
  if (count >= kLanes) return load(p);
#if defined(__AVX512F__)
  return reinterpret_cast<Vector>(_mm512_mask_loadu_ps(reinterpret_cast<__m512>(splat(fill)),
                                                       static_cast<__mmask16>((1u << count) - 1), p));
#else
  alignas(64) float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? p[i] : fill;
  return load(lanes);
#endif
}

inline void store_partial(float* p, Vector v, int count) {
  if (count >= kLanes) return store(p, v);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), reinterpret_cast<__m512>(v));
#else
  for (int i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// Asks for memory that is read soon, so that it arrives in the cache while something else is computed.
template <class T>
inline void prefetch(const T* p, int64_t count) {
  constexpr int kLine = 64 / sizeof(T);
  for (int64_t i = 0; i < count; i += kLine) __builtin_prefetch(p + i);
}

// A range of memory that is needed soon. Its parts are asked for during a loop of products, so that the range
// arrives in the L2 cache meanwhile and L1 keeps the operands of the products.
struct Ahead {
  const char* begin;  // or null
  int64_t bytes;

  template <class T>
  Ahead(const T* first, int64_t count)
      : begin(reinterpret_cast<const char*>(first)), bytes(count * int64_t{sizeof(T)}) {}

  void prefetch_part(int64_t index, int64_t parts) const {
    if (begin == nullptr) return;
    constexpr int kLine = 64, kIntoL2 = 2;
    const int64_t end = share_begin(bytes, index + 1, parts);
    for (int64_t i = share_begin(bytes, index, parts); i < end; i += kLine)
      __builtin_prefetch(begin + i, 0, kIntoL2);
  }
};

inline float sum_of_lanes(Vector v) {
  float sum = v[0];
  for (int i = 1; i < kLanes; ++i) sum += v[i];
  return sum;
}

inline float largest_lane(Vector v) {
  float most = v[0];
  for (int i = 1; i < kLanes; ++i) most = larger(most, v[i]);
  return most;
}

// Computes exp(x) for x <= 0 within about 1 ulp. The result is 0 below -87.3, where it would be denormal.
// NaN stays NaN.
inline Vector exp_negative(Vector x) {
  const Vector magic =
      splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low mantissa bits
  const Vector clamped = x < splat(-87.3f) ? splat(-87.3f) : x;
  const Vector shifted = clamped * splat(1.44269504088896341f) + magic;
  const UnsignedVector exponent = reinterpret_cast<UnsignedVector>(shifted) << 23;
  const Vector n = shifted - magic;
  const Vector r = (clamped - n * splat(0.693359375f)) - n * splat(-2.12194440e-4f);
  Vector p = splat(1.9875691500e-4f);
  p = p * r + splat(1.3981999507e-3f);
  p = p * r + splat(8.3334519073e-3f);
  p = p * r + splat(4.1665795894e-2f);
  p = p * r + splat(1.6666665459e-1f);
  p = p * r + splat(5.0000001201e-1f);
  p = p * r * r + r + splat(1.0f);
  const Vector scaled = reinterpret_cast<Vector>(reinterpret_cast<UnsignedVector>(p) + exponent);
  return x < splat(-87.3f) ? Vector{} : (x == x ? scaled : x);
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
