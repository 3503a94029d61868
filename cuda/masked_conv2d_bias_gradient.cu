// Computes the gradient of a masked convolution's bias in two rounds of one kernel: first the sums of
// parts of the pixels, then the sum of these. It is for weight gradients that do not include the bias:
// those of cuDNN, and ours in tf32.
#include "gradient_parts.h"
#include "masked_conv2d.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kSumWarps = 8, kSumChannels = 32;

// Sets sums[part][channel] to scale * the sum over the part's pixels. Each warp adds every kSumWarps-th
// pixel.
template <class T>
__global__ void __launch_bounds__(32 * kSumWarps)
    sum_pixels(const T* x, float* sums, int64_t pixels, int64_t part_pixels, int channels, float scale) {
  SHARED(float, partial, [kSumWarps][kSumChannels]);
  const int across = (channels + kSumChannels - 1) / kSumChannels, lane = threadIdx.x % 32,
            warp = threadIdx.x / 32;
  const int64_t part = blockIdx.x / across, first = part * part_pixels;
  const int64_t end = first + part_pixels < pixels ? first + part_pixels : pixels;
  const int channel = static_cast<int>(blockIdx.x) % across * kSumChannels + lane;
  float sum = 0;
  if (channel < channels) {
#pragma unroll 8
    for (int64_t pixel = first + warp; pixel < end; pixel += kSumWarps)
      sum += to_float(x[pixel * channels + channel]);
  }
  partial[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || channel >= channels) return;
  for (int other = 1; other < kSumWarps; ++other) sum += partial[other][lane];
  sums[part * channels + channel] = sum * scale;
}

Parts bias_parts(const MaskedConv2dShape& shape) {
  return Parts(int64_t{shape.n} * shape.h * shape.w, 4 * kMultiprocessors, blocks_of(shape.k, kSumChannels));
}

template <class T>
void launch_sum_pixels(const T* x, float* sums, int64_t pixels, const Parts& parts, int channels, float scale,
                       const Launch& launch) {
  const int64_t blocks = parts.count * blocks_of(channels, kSumChannels);
  LAUNCH(sum_pixels<T>, static_cast<unsigned>(blocks), 32 * kSumWarps, 0, launch.stream)
  (x, sums, pixels, parts.pixels, channels, scale);
}

}  // namespace

int64_t bias_gradient_workspace(const MaskedConv2dShape& shape) {
  return bias_parts(shape).count * shape.k * int64_t{sizeof(float)};
}

void bias_gradient(const MaskedConv2dBackwardWeight& op, float* workspace, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  const int64_t pixels = int64_t{shape.n} * shape.h * shape.w;
  const Parts parts = bias_parts(shape);
  with_precision(shape.precision, [&]<Precision precision>() {
    launch_sum_pixels(static_cast<const Element<precision>*>(op.grad_y), workspace, pixels, parts, shape.k, 1,
                      launch);
  });
  launch_sum_pixels<float>(workspace, op.grad_bias, parts.count, Parts(parts.count, 1, 1), shape.k,
                           1 / gradient_scale(shape.precision, pixels), launch);
}

}  // namespace pixelcnn::cuda
