// Computes the softmax cross-entropy of logits in memory, and overwrites the logits with their gradient.
// Each logit is read once.
#pragma once
#include "launch.h"
#include "reduce.h"
#include "tile.h"

namespace pixelcnn::cuda {

constexpr int kCrossEntropyThreads = 256, kCrossEntropyWarps = kCrossEntropyThreads / 32, kPasses = 8;
constexpr int kCrossEntropyBlocks = 3;  // on a multiprocessor of any GPU
static_assert(blocks_per_multiprocessor(75, kCrossEntropyThreads, int{sizeof(double)} * kCrossEntropyWarps) >=
              kCrossEntropyBlocks);
constexpr int kHeld = 8;  // logits that one lane holds

// Shares out rows; a row is the logits of one pixel and channel. Each row is held by the fewest lanes, a
// power of 2, that can hold it, and a block takes kPasses rounds of rows of one image. All of this depends
// only on the shape of an image, so that its nats have the same bits in any batch and on any GPU.
struct LogitRows {
  int64_t per_image;
  int levels;
  int lanes;
  int per_warp;
  int64_t per_block;
  int blocks;   // for one image
  float scale;  // multiplies the gradient

  explicit LogitRows(const HeadShape& shape)
      : per_image(int64_t{shape.h} * shape.w * shape.channels), levels(shape.levels), lanes(1) {
    while (lanes * kHeld < levels) lanes *= 2;
    per_warp = 32 / lanes;
    per_block = int64_t{kPasses} * kCrossEntropyWarps * per_warp;
    blocks = static_cast<int>((per_image + per_block - 1) / per_block);
    scale = static_cast<float>(gradient_scale(shape.precision, shape.pixels()) /
                               (static_cast<double>(shape.pixels()) * shape.channels));
  }
};

// The part of a row of `levels` logits that one lane holds: neighbours if rows are a multiple of 16 bytes,
// else every `lanes`-th logit. `levels` is 0 for a row that does not exist.
template <class T, bool kVector>
struct RowPart {
  int levels, lanes, lane;

  __device__ int index(int i) const { return kVector ? lane * kHeld + i : lane + i * lanes; }
  __device__ int owner(int level) const { return kVector ? level / kHeld : level % lanes; }

  // Fills logits beyond the row's end with -inf.
  __device__ void load(const T* row, float (&value)[kHeld]) const {
    if constexpr (kVector) {
      constexpr int kCount = 16 / sizeof(T);
      for (int first = 0; first < kHeld; first += kCount) {
        Vector<T> vector = {};
        const bool inside = index(first) < levels;
        if (inside) vector = *reinterpret_cast<const Vector<T>*>(row + index(first));
        for (int i = 0; i < kCount; ++i) value[first + i] = inside ? to_float(vector.at[i]) : -INFINITY;
      }
    } else {
      for (int i = 0; i < kHeld; ++i) value[i] = index(i) < levels ? to_float(row[index(i)]) : -INFINITY;
    }
  }

  __device__ void store(T* row, const float (&value)[kHeld]) const {
    if constexpr (kVector) {
      constexpr int kCount = 16 / sizeof(T);
      for (int first = 0; first < kHeld; first += kCount) {
        Vector<T> vector = {};
        for (int i = 0; i < kCount; ++i) vector.at[i] = from_float<T>(value[first + i]);
        if (index(first) < levels) *reinterpret_cast<Vector<T>*>(row + index(first)) = vector;
      }
    } else {
      for (int i = 0; i < kHeld; ++i) {
        if (index(i) < levels) row[index(i)] = from_float<T>(value[i]);
      }
    }
  }
};

// The fast exponential is exact enough if its result is rounded to 16 bits.
template <class T>
__device__ inline float exponential(float x) {
  return sizeof(T) == 2 ? __expf(x) : expf(x);
}

// Sets sums[block] to the nats of a block's rows. With kGradient it overwrites the logits with (softmax -
// one hot) * scale.
template <class T, bool kVector, bool kGradient>
__global__ void __launch_bounds__(kCrossEntropyThreads, kCrossEntropyBlocks)
    cross_entropy_kernel(T* __restrict__ logits, const uint8_t* __restrict__ level, double* __restrict__ sums,
                         LogitRows rows) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t image = blockIdx.x / rows.blocks;
  const int64_t begin = blockIdx.x % rows.blocks * rows.per_block;
  double nats = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const int64_t first = begin + int64_t{pass * kCrossEntropyWarps + warp} * rows.per_warp;
    if (first >= rows.per_image) break;  // true for all lanes of a warp
    const int64_t in_image = first + lane / rows.lanes;
    const bool inside = in_image < rows.per_image;
    const RowPart<T, kVector> part = {inside ? rows.levels : 0, rows.lanes, lane % rows.lanes};
    const int64_t at = image * rows.per_image + (inside ? in_image : first);
    T* row = logits + at * rows.levels;
    const int target = min(static_cast<int>(level[at]), rows.levels - 1);

    float value[kHeld], target_logit = 0, sum = 0;
    part.load(row, value);
    float largest = value[0];
    for (int i = 0; i < kHeld; ++i) {
      largest = fmaxf(largest, value[i]);
      if (part.index(i) == target) target_logit = value[i];
    }
    largest = warp_max(largest, rows.lanes);
    target_logit = __shfl_sync(kFullWarp, target_logit, part.owner(target), rows.lanes);
    for (int i = 0; i < kHeld; ++i) {
      value[i] = part.index(i) < part.levels ? exponential<T>(value[i] - largest) : 0;
      sum += value[i];
    }
    sum = warp_sum(sum, rows.lanes);
    if (inside && part.lane == 0) {
      nats +=
          static_cast<double>(logf(sum)) + (static_cast<double>(largest) - static_cast<double>(target_logit));
    }
    if constexpr (kGradient) {
      const float factor = rows.scale / sum;
      for (int i = 0; i < kHeld; ++i) {
        value[i] = value[i] * factor - (part.index(i) == target ? rows.scale : 0);
      }
      part.store(row, value);
    }
  }
  nats = block_sum<kCrossEntropyWarps>(nats);
  if (threadIdx.x == 0) sums[blockIdx.x] = nats;
}

// Sets nats[image] to the sum of its blocks. One warp handles one image.
static __global__ void __launch_bounds__(32)
    image_nats_kernel(const double* __restrict__ sums, double* __restrict__ nats, int blocks) {
  double sum = 0;
  for (int block = threadIdx.x; block < blocks; block += 32)
    sum += sums[int64_t{blockIdx.x} * blocks + block];
  sum = warp_sum(sum);
  if (threadIdx.x == 0) nats[blockIdx.x] = sum;
}

template <class T, bool kGradient>
void cross_entropy(T* logits, const uint8_t* level, double* sums, int images, const LogitRows& rows,
                   cudaStream_t stream) {
  const int blocks = images * rows.blocks;
  if (rows.levels * sizeof(T) % 16 == 0) {
    LAUNCH((cross_entropy_kernel<T, true, kGradient>), blocks, kCrossEntropyThreads, 0, stream)
    (logits, level, sums, rows);
  } else {
    LAUNCH((cross_entropy_kernel<T, false, kGradient>), blocks, kCrossEntropyThreads, 0, stream)
    (logits, level, sums, rows);
  }
}

}  // namespace pixelcnn::cuda
