// Computes sums and maxima over the lanes of a warp and the warps of a block, always in the same order.
#pragma once
#include "gpu.h"

namespace pixelcnn::cuda {

// These reduce over groups of `lanes` neighbouring lanes (a power of 2). Every lane receives the result.
template <class T>
__device__ inline T warp_sum(T value, int lanes = 32) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) value += __shfl_xor_sync(kFullWarp, value, bits);
  return value;
}

// Ignores NaN.
__device__ inline float warp_max(float value, int lanes = 32) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, bits));
  }
  return value;
}

// Sums over a block of 32 * kWarps threads. Thread 0 receives the result.
template <int kWarps>
__device__ inline double block_sum(double value) {
  SHARED(double, sums, [kWarps]);
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  double sum = 0;
  if (threadIdx.x == 0) {
    for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp];
  }
  return sum;
}

}  // namespace pixelcnn::cuda
