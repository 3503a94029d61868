// Lets kernel files compile both for CUDA and for the emulator (test/native/cuda_emulator); every kernel
// file includes it.
// Kernels are launched with LAUNCH(kernel, grid, block, shared bytes, stream)(arguments) instead of
// <<<>>>; a template goes in parentheses. Shared memory is declared with SHARED(type, name, [a][b]) and
// DYNAMIC_SHARED(type, name) instead of __shared__.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#ifdef PIXELCNN_CUDA_EMULATOR
#include "device_builtins.h"

#define LAUNCH(kernel, grid, block, shared_bytes, stream) \
  ::emulator::launcher(kernel, {#kernel, grid, block, static_cast<size_t>(shared_bytes), stream, false})
// The address of the key distinguishes arrays, also those of different instances of a kernel template.
#define SHARED(type, name, dimensions)    \
  using name##_storage = type dimensions; \
  static constexpr char name##_key = 0;   \
  auto& name =                            \
      *static_cast<name##_storage*>(::emulator::shared_array(&name##_key, sizeof(name##_storage), #name))
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(::emulator::dynamic_shared())
// The last parameter of a function that ends in a barrier or a warp instruction: the place of the call,
// for the emulator's messages.
#define CALL_SITE , ::emulator::Site site = ::emulator::Site::current()
#elif defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define LAUNCH(kernel, grid, block, shared_bytes, stream) kernel<<<grid, block, shared_bytes, stream>>>
#define SHARED(type, name, dimensions) __shared__ __align__(16) type name dimensions
#define DYNAMIC_SHARED(type, name)                                      \
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[]; \
  type* const name = reinterpret_cast<type*>(dynamic_shared_bytes)
#define CALL_SITE
#endif

namespace pixelcnn::cuda {

constexpr unsigned kFullWarp = 0xffffffffu;

// Lets a kernel use up to `bytes` of dynamic shared memory. CUDA needs to be asked only above 48 KB. If it
// refuses, the check after the launch (cudaGetLastError) finds the error.
template <class... Parameters>
void allow_shared_memory(void (*kernel)(Parameters...), size_t bytes) {
  if (bytes <= 48 * 1024) return;
  static_cast<void>(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                         cudaFuncAttributeMaxDynamicSharedMemorySize,
                                         static_cast<int>(bytes)));
}

// Asks CUDA for only as much shared memory as the blocks on a multiprocessor need. L1 gets the rest,
// because both are parts of one memory; so this is for kernels that copy through L1. The driver may choose
// another size. If it refuses, the check after the launch finds the error.
template <class... Parameters>
void leave_rest_to_l1(void (*kernel)(Parameters...), size_t bytes) {
  int device = 0, capacity = 0;
  static_cast<void>(cudaGetDevice(&device));
  static_cast<void>(cudaDeviceGetAttribute(&capacity, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
  const int of_block = static_cast<int>(bytes) + 1024;  // CUDA keeps 1 KB of every block for itself
  if (capacity < of_block) return;
  const int percent = (capacity / of_block * of_block * 100 + capacity - 1) / capacity;
  static_cast<void>(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                         cudaFuncAttributePreferredSharedMemoryCarveout, percent));
}

// Floating-point numbers of 16 bits. They are for storage only; arithmetic is in float.
struct bf16 {
  uint16_t bits;
};
struct f16 {
  uint16_t bits;
};

__host__ __device__ inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
__host__ __device__ inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

__host__ __device__ inline float to_float(float value) { return value; }
__host__ __device__ inline float to_float(bf16 value) { return float_of_bits(uint32_t{value.bits} << 16); }
__host__ __device__ inline float to_float(f16 value) {
#ifdef __CUDACC__
  return __half2float(__ushort_as_half(value.bits));
#else
  const uint32_t sign = (value.bits & 0x8000u) << 16, magnitude = (value.bits & 0x7fffu) << 13;
  if (magnitude >= 0x0f800000u) return float_of_bits(sign | magnitude | 0x7f800000u);  // infinity and NaN
  return float_of_bits(sign | bits_of(float_of_bits(magnitude) * 0x1p112f));           // exact
#endif
}

// Rounds to the nearest value, ties to even.
template <class T>
__host__ __device__ T from_float(float value);
template <>
__host__ __device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__host__ __device__ inline bf16 from_float<bf16>(float value) {
#ifdef __CUDACC__
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
#endif
}
template <>
__host__ __device__ inline f16 from_float<f16>(float value) {
#ifdef __CUDACC__
  return {__half_as_ushort(__float2half_rn(value))};
#else
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x477ff000u)
    half = 0x7c00u;  // 65520 and above become infinity
  else if (magnitude < 0x38800000u)
    half = bits_of(float_of_bits(magnitude) + 0.5f) -
           0x3f000000u;  // subnormal: adding 0.5 rounds to a multiple of 2^-24
  else
    half = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  return {static_cast<uint16_t>(sign | half)};
#endif
}

// Packs two neighbours of a 16-bit tensor into one register, the first in the low half.
template <class T>
__host__ __device__ inline uint32_t pack(float low, float high) {
  return from_float<T>(low).bits | uint32_t{from_float<T>(high).bits} << 16;
}
#ifdef __CUDACC__
template <>
__host__ __device__ inline uint32_t pack<bf16>(float low, float high) {  // one instruction from sm_80 on
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return __bfloat16_as_ushort(pair.x) | uint32_t{__bfloat16_as_ushort(pair.y)} << 16;
}
#endif

}  // namespace pixelcnn::cuda
