// Launches kernels that walk over a flat range, with one element per thread and round.
#pragma once
#include "launch.h"

namespace pixelcnn::cuda {

constexpr int kFlatThreads = 256;

// Returns enough blocks for every element, or enough to fill the device if that is fewer.
inline int flat_blocks(int64_t count, const Launch& launch) {
  const int64_t needed = (count + kFlatThreads - 1) / kFlatThreads,
                full = int64_t{launch.multiprocessors} * 8;
  return static_cast<int>(needed < full ? needed : full);
}

__device__ inline int64_t flat_index() { return int64_t{blockIdx.x} * kFlatThreads + threadIdx.x; }
__device__ inline int64_t flat_stride() { return int64_t{gridDim.x} * kFlatThreads; }

}  // namespace pixelcnn::cuda
