// Defines CUDA's qualifiers and built-ins for kernel code: indices, barriers, shuffles, atomics,
// arithmetic. Anything that is missing here is a compile error on purpose.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>

#include "emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

inline uint3 threadIdx, blockIdx;  // set whenever a fiber goes on
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

#define CALL_SITE_PARAMETER emulator::Site site = emulator::Site::current()

inline void __syncthreads(CALL_SITE_PARAMETER) { emulator::block_barrier(0, site); }
inline int __syncthreads_count(int value, CALL_SITE_PARAMETER) {
  return emulator::block_barrier(value, site);
}
inline int __syncthreads_or(int value, CALL_SITE_PARAMETER) {
  return emulator::block_barrier(value, site) != 0;
}
inline int __syncthreads_and(int value, CALL_SITE_PARAMETER) {
  return emulator::block_barrier(value == 0, site) == 0;
}
inline void __syncwarp(uint32_t mask = ~0u, CALL_SITE_PARAMETER) { emulator::warp_barrier(mask, site); }
// Blocks run in one thread, so memory needs no fences.
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32, CALL_SITE_PARAMETER) {
  const int first = emulator::lane() & ~(width - 1);
  return emulator::from_lane("__shfl_sync", mask, value, first + (source & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, CALL_SITE_PARAMETER) {
  const int source = emulator::lane() ^ bits, last = emulator::lane() | (width - 1);
  return emulator::from_lane("__shfl_xor_sync", mask, value, source <= last ? source : emulator::lane(),
                             site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, CALL_SITE_PARAMETER) {
  const int first = emulator::lane() & ~(width - 1), source = emulator::lane() - static_cast<int>(delta);
  return emulator::from_lane("__shfl_up_sync", mask, value, source >= first ? source : emulator::lane(),
                             site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, CALL_SITE_PARAMETER) {
  const int last = emulator::lane() | (width - 1), source = emulator::lane() + static_cast<int>(delta);
  return emulator::from_lane("__shfl_down_sync", mask, value, source <= last ? source : emulator::lane(),
                             site);
}
inline unsigned __ballot_sync(uint32_t mask, int predicate, CALL_SITE_PARAMETER) {
  return emulator::reduce("__ballot_sync", mask, predicate != 0 ? 1u << emulator::lane() : 0u,
                          std::bit_or<unsigned>(), site);
}
inline int __any_sync(uint32_t mask, int predicate, CALL_SITE_PARAMETER) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(uint32_t mask, int predicate, CALL_SITE_PARAMETER) {
  return __ballot_sync(mask, predicate, site) == mask;
}

#undef CALL_SITE_PARAMETER

template <class T>
T atomicAdd(T* memory, std::type_identity_t<T> value) {
  return emulator::atomic(memory, [value](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* memory, std::type_identity_t<T> value) {
  return emulator::atomic(memory, [value](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* memory, std::type_identity_t<T> value) {
  return emulator::atomic(memory, [value](T old) { return std::min(old, value); });
}
template <class T>
T atomicExch(T* memory, std::type_identity_t<T> value) {
  return emulator::atomic(memory, [value](T) { return value; });
}
template <class T>
T atomicCAS(T* memory, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return emulator::atomic(memory, [=](T old) { return old == expected ? value : old; });
}

template <class T>
T __ldg(const T* memory) {
  return *memory;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}
inline int __popc(unsigned value) { return std::popcount(value); }
inline int __clz(unsigned value) { return std::countl_zero(value); }
inline int __ffs(unsigned value) { return value != 0 ? std::countr_zero(value) + 1 : 0; }
inline float __uint_as_float(unsigned value) { return std::bit_cast<float>(value); }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline int __float_as_int(float value) { return std::bit_cast<int>(value); }
inline float __int_as_float(int value) { return std::bit_cast<float>(value); }
inline float __expf(float value) { return std::exp(value); }
inline float __logf(float value) { return std::log(value); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float value) { return std::sqrt(value); }
inline float rsqrtf(float value) { return 1 / std::sqrt(value); }
using std::max;
using std::min;

namespace pixelcnn::cuda {
// Waits for all threads of a cooperative launch.
inline void grid_sync(emulator::Site site = emulator::Site::current()) { emulator::grid_barrier(site); }
}  // namespace pixelcnn::cuda
