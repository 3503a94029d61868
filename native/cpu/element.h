// Defines `Element`, the type in which a kernel table stores activations and the weights of direct
// convolutions, and `Factor`, what one lane of a vector multiplies at a time.
//
// In the tables of float32 both are float. In those of bf16, which are compiled with PIXELCNN_BF16, an
// element is the upper half of a float, and a factor is a pair of elements, because the processor's dot
// product adds two products to each lane. All arithmetic between a load and a store is float32 in every
// table.
#pragma once
#include <cstring>

#include "simd.h"

#if defined(PIXELCNN_BF16) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pixelcnn::cpu::PIXELCNN_ISA {

inline float read_factor(const float* p) { return *p; }
inline Vector multiply_add(Vector sum, Vector a, Vector b) { return sum + a * b; }

#if !defined(PIXELCNN_BF16)

using Element = float;
inline constexpr bool kIsBf16 = false;
template <class T>
using Factor = T;
template <class T>
inline constexpr int kPerFactor = 1;  // elements in a factor

// A float is an element and a factor as it is, so these have nothing to convert or to pair. Those of bf16 are
// described below.
inline float to_element(float value) { return value; }
inline const float* to_elements(const float* values, int64_t, float*) { return values; }
inline void gather_factors(const float* a, const float*, int64_t count, float* out) {
  std::memcpy(out, a, count * sizeof(float));
}
inline const float* pair_rows(const float* rows, int64_t, int64_t, float*) { return rows; }

#else

struct Bfloat16 {
  uint16_t bits;
};
// The first element is in the lower half.
struct Bfloat16Pair {
  uint32_t bits;
};
typedef uint16_t HalfVector __attribute__((vector_size(kLanes * 2)));
typedef uint16_t UnalignedHalfVector __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef uint32_t UnalignedPairs __attribute__((vector_size(kLanes * 4), aligned(2), may_alias));
struct PairVector {
  UnsignedVector bits;
};

using Element = Bfloat16;
inline constexpr bool kIsBf16 = true;
template <class T>
struct FactorOf {
  using Type = T;
};
template <>
struct FactorOf<Bfloat16> {
  using Type = Bfloat16Pair;
};
template <class T>
using Factor = typename FactorOf<T>::Type;
template <class T>
inline constexpr int kPerFactor = sizeof(Factor<T>) / sizeof(T);  // elements in a factor

// Conversions to bf16 round to nearest even. NaN stays NaN. With AVX-512, values that are
// denormal as float32 become 0.
inline Vector widen(HalfVector bits) {
  return reinterpret_cast<Vector>(__builtin_convertvector(bits, UnsignedVector) << 16);
}
inline HalfVector narrow(Vector v) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<HalfVector>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(v)));
#else
  return reinterpret_cast<HalfVector>(vcvt_bf16_f32(reinterpret_cast<float32x4_t>(v)));
#endif
}
inline Vector load(const Bfloat16* p) { return widen(*reinterpret_cast<const UnalignedHalfVector*>(p)); }
inline void store(Bfloat16* p, Vector v) { *reinterpret_cast<UnalignedHalfVector*>(p) = narrow(v); }

#if defined(__AVX512BF16__)
inline Vector load_partial(const Bfloat16* p, int count) {
  if (count >= kLanes) return load(p);
  const auto mask = static_cast<__mmask16>((1u << count) - 1);
  return widen(reinterpret_cast<HalfVector>(_mm256_maskz_loadu_epi16(mask, p)));
}
inline void store_partial(Bfloat16* p, Vector v, int count) {
  if (count >= kLanes) return store(p, v);
  const auto mask = static_cast<__mmask16>((1u << count) - 1);
  _mm256_mask_storeu_epi16(p, mask, reinterpret_cast<__m256i>(narrow(v)));
}
inline PairVector load_partial(const Bfloat16Pair* p, int count) {
  const auto mask = static_cast<__mmask16>(count >= kLanes ? 0xffff : (1u << count) - 1);
  return {reinterpret_cast<UnsignedVector>(_mm512_maskz_loadu_epi32(mask, p))};
}
inline Vector multiply_add(Vector sum, PairVector a, PairVector b) {
  return reinterpret_cast<Vector>(_mm512_dpbf16_ps(
      reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a.bits), reinterpret_cast<__m512bh>(b.bits)));
}
#else
inline Vector load_partial(const Bfloat16* p, int count) {
  Bfloat16 lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? p[i] : Bfloat16{0};
  return load(lanes);
}
inline void store_partial(Bfloat16* p, Vector v, int count) {
  Bfloat16 lanes[kLanes];
  store(lanes, v);
  for (int i = 0; i < smaller(count, kLanes); ++i) p[i] = lanes[i];
}
inline PairVector load_partial(const Bfloat16Pair* p, int count) {
  PairVector result;
  for (int i = 0; i < kLanes; ++i) result.bits[i] = i < count ? p[i].bits : 0;
  return result;
}
inline Vector multiply_add(Vector sum, PairVector a, PairVector b) {
  return reinterpret_cast<Vector>(vbfdotq_f32(reinterpret_cast<float32x4_t>(sum),
                                              reinterpret_cast<bfloat16x8_t>(a.bits),
                                              reinterpret_cast<bfloat16x8_t>(b.bits)));
}
#endif

inline PairVector load(const Bfloat16Pair* p) { return {*reinterpret_cast<const UnalignedPairs*>(p)}; }
inline void store(Bfloat16Pair* p, PairVector v) { *reinterpret_cast<UnalignedPairs*>(p) = v.bits; }
inline PairVector splat(Bfloat16Pair pair) { return {pair.bits - UnsignedVector{}}; }

inline Bfloat16Pair read_factor(const Bfloat16* p) {
  Bfloat16Pair pair;
  std::memcpy(&pair, p, sizeof(pair));
  return pair;
}
// Makes a factor of one element and 0. It does not read the element behind it, which may be NaN.
inline Bfloat16Pair read_half_factor(const Bfloat16* p) { return {p->bits}; }

inline Bfloat16 to_element(float value) { return {narrow(splat(value))[0]}; }
// Rounds values to `out` and returns it.
inline const Bfloat16* to_elements(const float* values, int64_t count, Bfloat16* out) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, count - i));
    store_partial(out + i, load_partial(values + i, lanes), lanes);
  }
  return out;
}

// Writes out[i] = the factor of a[i] and b[i], or of a[i] and 0 if b is null.
inline void gather_factors(const Bfloat16* a, const Bfloat16* b, int64_t count, Bfloat16Pair* out) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const UnsignedVector first = reinterpret_cast<UnsignedVector>(load(a + i)) >> 16;
    store(out + i, {b ? first | reinterpret_cast<UnsignedVector>(load(b + i)) : first});
  }
  for (; i < count; ++i) out[i] = {a[i].bits | (b ? uint32_t{b[i].bits} << 16 : 0)};
}
// Pairs each row of `width` elements with the next one, the last of an odd number with zeros, and returns
// `out`.
inline const Bfloat16Pair* pair_rows(const Bfloat16* x, int64_t rows, int64_t width, Bfloat16Pair* out) {
  for (int64_t row = 0; row < rows; row += 2) {
    const Bfloat16* first = x + row * width;
    gather_factors(first, row + 1 < rows ? first + width : nullptr, width, out + row / 2 * width);
  }
  return out;
}

#endif

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
