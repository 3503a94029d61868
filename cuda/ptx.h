// Contains all inline PTX. Each function also has a body for the emulator. The layouts of fragments are
// those of the PTX manual, where lane l of the warp has g = l / 4 and t = l % 4.
#pragma once
#include "gpu.h"

namespace pixelcnn::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define PIXELCNN_SM_80 1
#endif

// Computes d (16x8) += a (16x16, rows) * b (16x8, columns), on all lanes of a warp:
//   a[0] = A[g][2t, 2t+1]  a[1] = A[g+8][2t, 2t+1]  a[2] = A[g][2t+8, 2t+9]  a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g]  b[1] = B[2t+8, 2t+9][g]
//   d[0], d[1] = D[g][2t, 2t+1]  d[2], d[3] = D[g+8][2t, 2t+1]
// Needs sm_80.
__device__ inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                         const uint32_t (&b)[2] CALL_SITE) {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::mma_m16n8k16_bf16(d, a, b, site);
#elif defined(PIXELCNN_SM_80)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// Computes d (16x8) += a (16x8, rows) * b (8x8, columns): a[0] = A[g][2t, 2t+1]  a[1] = A[g+8][2t, 2t+1]
// b = B[2t, 2t+1][g], d as above.
__device__ inline void mma_m16n8k8_f16(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t b CALL_SITE) {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::mma_m16n8k8_f16(d, a0, a1, b, site);
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(b));
#endif
}

// Fragments are as for mma_m16n8k16_bf16. On sm_75 the product is two halves of depth 8 and is rounded
// after each.
__device__ inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2] CALL_SITE) {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::mma_m16n8k16_f16(d, a, b, site);
#elif defined(PIXELCNN_SM_80)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  mma_m16n8k8_f16(d, a[0], a[1], b[0]);
  mma_m16n8k8_f16(d, a[2], a[3], b[1]);
#endif
}

// Computes d (16x8) += a (16x8, rows) * b (8x8, columns) of numbers that to_tf32 has rounded:
//   a[0] = A[g][t]  a[1] = A[g+8][t]  a[2] = A[g][t+4]  a[3] = A[g+8][t+4]  b[0] = B[t][g]  b[1] = B[t+4][g]
// d as above. Needs sm_80.
__device__ inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2] CALL_SITE) {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::mma_m16n8k8_tf32(d, a, b, site);
#elif defined(PIXELCNN_SM_80)
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();
#endif
}

// Rounds to the nearest number with 10 bits of mantissa, ties away from zero, for the mma above.
__device__ inline uint32_t to_tf32(float value) {
#ifdef PIXELCNN_SM_80
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  const uint32_t bits = bits_of(value);
  return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffffffu : (bits + 0x1000u) & ~0x1fffu;
#endif
}

// Loads 8x8 matrices of 16-bit values from shared memory. Lane 8i + r passes the address of row r of
// matrix i, 16-byte aligned, and receives d[i] = M_i[g][2t, 2t+1], or M_i[2t, 2t+1][g] transposed. In x2
// the addresses of the upper lanes are not used, but must be valid.
__device__ inline void ldmatrix_x4(uint32_t (&d)[4], const void* row CALL_SITE) {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::ldmatrix(d, 4, false, row, site);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}
__device__ inline void ldmatrix_x4_transposed(uint32_t (&d)[4], const void* row CALL_SITE) {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::ldmatrix(d, 4, true, row, site);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

// Selects the caches that a copy of 16 bytes goes through. L1 is for data that the same block soon reads
// again; data that it reads once would only evict that.
enum class Cache { kL2, kL1AndL2 };

// Starts a copy of 4, 8 or 16 aligned bytes from global to shared memory. Unless `valid`, it reads nothing
// and writes zeros. Copies of less than 16 bytes always go through L1. The copy is done when cp_async_wait
// returns, and other threads see it after the next barrier. On sm_75 it is done at once.
template <int bytes, Cache cache = Cache::kL2>
__device__ inline void cp_async(void* to, const void* from, bool valid) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::copy_async(to, from, bytes, valid ? bytes : 0);
#elif defined(PIXELCNN_SM_80)
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int read = valid ? bytes : 0;
  if constexpr (bytes == 16 && cache == Cache::kL2)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(read)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(bytes),
                 "r"(read)
                 : "memory");
#else
  struct alignas(bytes) Block {
    uint32_t words[bytes / 4];
  };
  *static_cast<Block*>(to) = valid ? *static_cast<const Block*>(from) : Block{};
#endif
}
// Closes a group of copies of this thread.
__device__ inline void cp_async_commit() {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::copy_commit();
#elif defined(PIXELCNN_SM_80)
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until at most `pending` of this thread's newest groups are unfinished.
template <int pending>
__device__ inline void cp_async_wait() {
#ifdef PIXELCNN_CUDA_EMULATOR
  ::emulator::copy_wait(pending);
#elif defined(PIXELCNN_SM_80)
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

// Computes 2^x and 1 / x within a few units of the last place. Numbers below 2^-126 count as 0, which saves
// the instructions that would scale them.
__device__ inline float fast_exp2(float x) {
#ifdef PIXELCNN_CUDA_EMULATOR
  return ::exp2f(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}
__device__ inline float fast_reciprocal(float x) {
#ifdef PIXELCNN_CUDA_EMULATOR
  return 1 / x;
#else
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

#undef PIXELCNN_SM_80

}  // namespace pixelcnn::cuda
