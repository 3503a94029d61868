// Declares small kernels for the emulator's test, which are correct, or wrong in one place on request.
#pragma once
#include "../../../cuda/gpu.h"

namespace emulator_test {

enum class Plant {
  kNone,
  // Masked convolution.
  kNoBarrierAfterCopy,
  kNoBarrierBeforeReuse,
  kNoCopyWait,
  kWrongTap,
  kPixelTooMany,
  kElementTooFar,
  kUnwrittenRow,
  kWrongFragment,
  // Sum over a block.
  kNoBarrierBeforeSum,
  kDivergentBarrier,
  kDivergentShuffle,
  // Largest of each row, one warp per row.
  kLaneEnded,
  kTwoWriters,
  // Wavefront.
  kNoBarrierBeforeStep,
  kFrontTooEarly,
  // The rest.
  kNoGridBarrier,
  kNoCooperativeLaunch,
  kNoWarpBarrier,
  kNoAtomics,
  kMisaligned,
};

// y = masked 3x3 convolution of x by weights, mask B: x (images, height, width, 16), weights (5, 16, 8),
// y (images, height, width, 8).
struct Shape {
  int images, height, width;
  int pixels() const { return images * height * width; }
};
void convolve(const pixelcnn::cuda::bf16* x, const pixelcnn::cuda::bf16* weights, pixelcnn::cuda::bf16* y,
              Shape shape, Plant plant, cudaStream_t stream = nullptr);

// sum = the sum of count values.
void sum_values(const float* values, float* sum, int count, Plant plant);

// largest (rows) = the index of the largest of each row of values (rows, 32).
void find_largest(const float* values, uint8_t* largest, int rows, Plant plant);

// image(i, j) = (image(i, j-1) + 3 image(i-1, j+1) + 1) mod 251, along fronts of equal j + 2i.
void run_wavefront(uint8_t* image, int height, int width, Plant plant);

// out (256) = the values that the next block wrote to `values`.
void pass_between_blocks(int* values, int* out, Plant plant);
// out (32) = the values of the other lanes, in reverse.
void pass_between_lanes(int* out, Plant plant);
void count_levels(const uint8_t* levels, int* counts, int count, Plant plant);
void copy_vector(const float* from, float* to, Plant plant, cudaStream_t stream = nullptr);
// Host code that must not do what it does.
float read_on_host(const float* device);
// Uses that much shared memory: 40 KB of it static, if told so.
void use_shared_memory(size_t dynamic_bytes, float* out, bool statically);

}  // namespace emulator_test
