// Implements the kernels of planted.h. The planted bug is an argument, so that one compilation contains
// all of them.
#include "../../../cuda/ptx.h"
#include "planted.h"

namespace emulator_test {

using namespace pixelcnn::cuda;

namespace {

constexpr int kIn = 16, kOut = 8, kTaps = 5, kThreads = 64, kTile = 32;
constexpr int kStrideX = kIn + 8, kStrideW = kOut + 8;

// A block makes 32 pixels, a warp 16 of them; tiles of one tap are loaded while the one before is used.
__global__ void __launch_bounds__(kThreads)
    convolution_kernel(const bf16* __restrict__ x, const bf16* __restrict__ weights, bf16* __restrict__ y,
                       Shape shape, Plant plant) {
  SHARED(bf16, tile_x, [2][kTile][kStrideX]);
  SHARED(bf16, tile_w, [2][kIn][kStrideW]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first = blockIdx.x * kTile, pixels = shape.images * shape.height * shape.width;
  const int pixel = first + threadIdx.x / 2, part = threadIdx.x % 2 * 8;
  const int row = pixel / shape.width % shape.height, column = pixel % shape.width;
  const int in = threadIdx.x / 4, out = threadIdx.x % 4 * 2;
  const auto load = [&](int tap) {
    const int dy = tap / 3 - 1, dx = tap % 3 - 1 + (plant == Plant::kWrongTap ? 1 : 0);
    const bool inside = pixel < pixels && row + dy >= 0 && column + dx >= 0 && column + dx < shape.width;
    const bf16* const from = inside ? x + (pixel + dy * shape.width + dx) * kIn + part : x;
    cp_async<16>(&tile_x[tap % 2][threadIdx.x / 2][part], from, inside);
    if (plant != Plant::kUnwrittenRow || in < kIn - 1) {
      cp_async<4>(&tile_w[tap % 2][in][out], weights + (tap * kIn + in) * kOut + out, true);
    }
    cp_async_commit();
  };
  float sum[4] = {};
  load(0);
  for (int tap = 0; tap < kTaps; ++tap) {
    if (tap + 1 < kTaps)
      load(tap + 1);
    else
      cp_async_commit();
    if (plant != Plant::kNoCopyWait) cp_async_wait<1>();
    if (plant != Plant::kNoBarrierAfterCopy) __syncthreads();
    uint32_t a[4], b[2];
    ldmatrix_x4(a, &tile_x[tap % 2][warp * 16 + lane % 16][lane / 16 * 8]);
    emulator::ldmatrix(b, 2, true, &tile_w[tap % 2][lane % 16][0], emulator::Site::current());
    if (plant == Plant::kWrongFragment)
      mma_m16n8k16_bf16(sum, a, {b[1], b[0]});
    else
      mma_m16n8k16_bf16(sum, a, b);
    if (plant != Plant::kNoBarrierBeforeReuse) __syncthreads();
  }
  for (int half = 0; half < 2; ++half) {
    const int to = first + warp * 16 + lane / 4 + half * 8;
    if (plant == Plant::kPixelTooMany ? to > pixels : to >= pixels) continue;
    bf16* const pair = y + to * kOut + lane % 4 * 2;
    *reinterpret_cast<uint32_t*>(pair) = pack<bf16>(sum[2 * half], sum[2 * half + 1]);
    if (plant == Plant::kElementTooFar && to == pixels - 1 && lane % 4 == 3) pair[2] = from_float<bf16>(0);
  }
}

__device__ inline float warp_sum(float value) {
  for (int bits = 16; bits != 0; bits /= 2) value += __shfl_xor_sync(kFullWarp, value, bits);
  return value;
}

__global__ void sum_kernel(const float* __restrict__ values, float* __restrict__ sum, int count,
                           Plant plant) {
  SHARED(float, of_warp, [8]);
  float mine = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) mine += values[i];
  if (plant != Plant::kDivergentShuffle || threadIdx.x % 32 < 16) mine = warp_sum(mine);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  if (plant != Plant::kNoBarrierBeforeSum) __syncthreads();
  if (plant == Plant::kDivergentBarrier && threadIdx.x < 64) __syncthreads();
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < 8; ++warp) mine += of_warp[warp];
    *sum = mine;
  }
  __syncthreads();
}

__global__ void largest_kernel(const float* __restrict__ values, uint8_t* __restrict__ largest, int rows,
                               Plant plant) {
  const int row = blockIdx.x * 2 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  if (plant == Plant::kLaneEnded && lane == 31) return;
  const float value = values[row * 32 + lane];
  float top = value;
  for (int bits = 16; bits != 0; bits /= 2) top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, bits));
  const int first = __ffs(__ballot_sync(kFullWarp, value == top)) - 1;
  if (lane == 0) largest[row] = static_cast<uint8_t>(first);
  if (plant == Plant::kTwoWriters && lane == 0 && row >= 2) largest[row - 2] = static_cast<uint8_t>(first);
}

__global__ void wavefront_kernel(uint8_t* image, int height, int width, Plant plant) {
  const int i = threadIdx.x, slope = plant == Plant::kFrontTooEarly ? 1 : 2;
  for (int t = 0; t < width + slope * (height - 1); ++t) {
    const int j = t - slope * i;
    if (i < height && j >= 0 && j < width) {
      const int left = j > 0 ? image[i * width + j - 1] : 0;
      const int above = i > 0 && j + 1 < width ? image[(i - 1) * width + j + 1] : 0;
      image[i * width + j] = static_cast<uint8_t>((left + 3 * above + 1) % 251);
    }
    if (plant != Plant::kNoBarrierBeforeStep) __syncthreads();
  }
}

__global__ void blocks_kernel(int* values, int* out, Plant plant) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x, count = gridDim.x * blockDim.x;
  values[i] = i;
  if (plant != Plant::kNoGridBarrier) grid_sync();
  out[i] = values[(i + blockDim.x) % count];
}

__global__ void lanes_kernel(int* out, Plant plant) {
  SHARED(int, box, [32]);
  box[threadIdx.x] = threadIdx.x;
  if (plant != Plant::kNoWarpBarrier) __syncwarp();
  out[threadIdx.x] = box[31 - threadIdx.x];
}

__global__ void levels_kernel(const uint8_t* levels, int* counts, int count, Plant plant) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  if (plant == Plant::kNoAtomics)
    ++counts[levels[i]];
  else
    atomicAdd(&counts[levels[i]], 1);
}

__global__ void vector_kernel(const float* from, float* to, Plant plant) {
  const float* const first = from + (plant == Plant::kMisaligned ? 1 : 0);
  *reinterpret_cast<float4*>(to) = *reinterpret_cast<const float4*>(first);
}

__global__ void dynamic_kernel(float* out) {
  DYNAMIC_SHARED(float, box);
  box[threadIdx.x] = 1;
  out[threadIdx.x] = box[threadIdx.x];
}

__global__ void static_kernel(float* out) {
  SHARED(float, large, [10 << 10]);
  DYNAMIC_SHARED(float, box);
  large[threadIdx.x] = box[threadIdx.x] = 1;
  out[threadIdx.x] = large[threadIdx.x] + box[threadIdx.x];
}

}  // namespace

void convolve(const bf16* x, const bf16* weights, bf16* y, Shape shape, Plant plant, cudaStream_t stream) {
  const int blocks = (shape.pixels() + kTile - 1) / kTile;
  LAUNCH(convolution_kernel, blocks, kThreads, 0, stream)(x, weights, y, shape, plant);
}

void sum_values(const float* values, float* sum, int count, Plant plant) {
  LAUNCH(sum_kernel, 1, 256, 0, nullptr)(values, sum, count, plant);
}

void find_largest(const float* values, uint8_t* largest, int rows, Plant plant) {
  LAUNCH(largest_kernel, (rows + 1) / 2, 64, 0, nullptr)(values, largest, rows, plant);
}

void run_wavefront(uint8_t* image, int height, int width, Plant plant) {
  LAUNCH(wavefront_kernel, 1, 64, 0, nullptr)(image, height, width, plant);
}

void pass_between_blocks(int* values, int* out, Plant plant) {
  const bool cooperative = plant != Plant::kNoCooperativeLaunch;
  emulator::launcher(blocks_kernel, {"blocks_kernel", 4, 64, 0, nullptr, cooperative})(values, out, plant);
}

void pass_between_lanes(int* out, Plant plant) { LAUNCH(lanes_kernel, 1, 32, 0, nullptr)(out, plant); }

void count_levels(const uint8_t* levels, int* counts, int count, Plant plant) {
  LAUNCH(levels_kernel, (count + 63) / 64, 64, 0, nullptr)(levels, counts, count, plant);
}

void copy_vector(const float* from, float* to, Plant plant, cudaStream_t stream) {
  LAUNCH(vector_kernel, 1, 1, 0, stream)(from, to, plant);
}

float read_on_host(const float* device) { return device[1]; }

void use_shared_memory(size_t dynamic_bytes, float* out, bool statically) {
  const auto kernel = statically ? static_kernel : dynamic_kernel;
  allow_shared_memory(kernel, dynamic_bytes);
  LAUNCH(kernel, 1, 32, dynamic_bytes, nullptr)(out);
}

}  // namespace emulator_test
