// Sums and maxima over the lanes of a warp and the warps of a block, in an order that never changes.
#pragma once
#include "gpu.h"

namespace pixelcnn::cuda {

// Over groups of `lanes` neighbouring lanes (a power of 2); every lane gets the result.
template <class T>
__device__ inline T warp_sum(T value, int lanes = 32) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) value += __shfl_xor_sync(kFullWarp, value, bits);
  return value;
}

// NaN is passed over.
__device__ inline float warp_max(float value, int lanes = 32) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, bits));
  }
  return value;
}

// Over a block of 32 * kWarps threads; thread 0 gets the result.
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
