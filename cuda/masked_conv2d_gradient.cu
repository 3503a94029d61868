// The gradients of a masked convolution's weights and bias.
//
// Weights: rows of the product are (tap, input channel), columns output channels, the depth is the pixels.
// The pixels are split into parts of a fixed size; each block writes its part's sums in the packed layout
// [K][slots][C] and the parts are added in order. Bias: the same in two rounds of one kernel.
#include "masked_conv2d.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kLeastPixels = 64;  // of a part

// How the pixels are split: enough parts for `blocks` blocks where one part has `blocks_per_part`.
struct Parts {
  int64_t pixels;  // of a part
  int count;

  Parts(int64_t all, int64_t blocks, int64_t blocks_per_part) {
    const int64_t wanted = blocks_of(blocks, blocks_per_part);
    pixels = blocks_of(blocks_of(all, wanted), kLeastPixels) * kLeastPixels;
    count = static_cast<int>(blocks_of(all, pixels));
  }
};

// Lines are pixels, across them lie the channels of all taps.
template <class T, class Tile>
class TapsOfPixels {
 public:
  __device__ TapsOfPixels(const T* x, const TapIndex& taps, const ImagePixels& pixels, int first_index,
                          int64_t first_pixel, int64_t end_pixel)
      : x_(x),
        taps_(taps),
        pixels_(pixels),
        first_pixel_(first_pixel),
        end_pixel_(end_pixel),
        index_(first_index + Tile::element()),
        tap_(taps.at(index_)) {}

  __device__ void begin(int step) { pixel_ = first_pixel_ + step * Tile::kStageDepth; }
  __device__ void copy(int i, T* to) const {
    const int64_t pixel = pixel_ + Tile::line(i);
    const Place place = pixel < end_pixel_ ? pixels_.at(pixel) : ImagePixels::nowhere();
    copy_taps(to, x_, taps_, pixels_, place, index_, tap_);
  }

 private:
  const T* x_;
  const TapIndex& taps_;
  const ImagePixels& pixels_;
  int64_t first_pixel_, end_pixel_, pixel_;
  int index_;
  TapIndex::Position tap_;
};

// Lines are pixels, across them lie their channels.
template <class T, class Tile>
class ChannelsOfPixels {
 public:
  __device__ ChannelsOfPixels(const T* x, int channels, int first_channel, int64_t first_pixel,
                              int64_t end_pixel)
      : x_(x),
        channels_(channels),
        channel_(first_channel + Tile::element()),
        first_pixel_(first_pixel),
        end_pixel_(end_pixel) {}

  __device__ void begin(int step) { pixel_ = first_pixel_ + step * Tile::kStageDepth; }
  __device__ void copy(int i, T* to) const {
    const int64_t pixel = pixel_ + Tile::line(i);
    const int count = pixel < end_pixel_ ? channels_ - channel_ : 0;
    copy_neighbours(to, x_ + pixel * channels_ + channel_, count, channels_ % Tile::kVector == 0);
  }

 private:
  const T* x_;
  int channels_, channel_;
  int64_t first_pixel_, end_pixel_, pixel_;
};

template <Precision precision, class Shape>
using GradientTile = BlockTile<precision, Shape, Lines::kAcrossDepth, Lines::kAcrossDepth>;

template <Precision precision, class Shape>
__global__ void __launch_bounds__(GradientTile<precision, Shape>::kThreads)
    weight_gradient(const Element<precision>* x, const Element<precision>* grad_y, float* partial,
                    const TapIndex taps, const ImagePixels pixels, int k, int slots, int64_t part_pixels) {
  using T = Element<precision>;
  using Tile = GradientTile<precision, Shape>;
  DYNAMIC_SHARED(T, shared);
  const int across = (k + Shape::kColumns - 1) / Shape::kColumns;
  const int tiles = (taps.count() + Shape::kRows - 1) / Shape::kRows * across;
  const int part = static_cast<int>(blockIdx.x) / tiles, index = static_cast<int>(blockIdx.x) % tiles;
  const int first_row = index / across * Shape::kRows, first_column = index % across * Shape::kColumns;
  const int64_t first = part * part_pixels;
  const int64_t end = first + part_pixels < pixels.count() ? first + part_pixels : pixels.count();

  Tile tile;
  TapsOfPixels<T, typename Tile::A> a(x, taps, pixels, first_row, first, end);
  ChannelsOfPixels<T, typename Tile::B> b(grad_y, k, first_column, first, end);
  tile.multiply(shared, static_cast<int>((end - first + Tile::kDepth - 1) / Tile::kDepth), a, b);

  const int filter = slots * taps.channels();
  float* sums = partial + part * (int64_t{k} * filter);
  tile.for_each_pair([&](int row, int column, float low, float high) {
    const int tap = first_row + row, output = first_column + column;
    if (tap >= taps.count()) return;
    if (output < k) sums[int64_t{output} * filter + tap] = low;
    if (output + 1 < k) sums[int64_t{output + 1} * filter + tap] = high;
  });
}

// How one shape's weight gradient is computed.
struct GradientPlan {
  bool large;
  int64_t tiles;
  Parts parts;

  GradientPlan(const MaskedConv2dShape& shape, int multiprocessors)
      : large(rows(shape) > SmallTile::kRows && shape.k > SmallTile::kColumns),
        tiles(blocks_of(rows(shape), large ? LargeTile::kRows : SmallTile::kRows) *
              blocks_of(shape.k, large ? LargeTile::kColumns : SmallTile::kColumns)),
        parts(int64_t{shape.n} * shape.h * shape.w, 2 * multiprocessors, tiles > 0 ? tiles : 1) {}

  static int64_t rows(const MaskedConv2dShape& shape) { return int64_t{live_taps(shape)} * shape.c; }
};

int64_t filter_bytes(const MaskedConv2dShape& shape) {
  return int64_t{shape.k} * filter_slots(shape) * shape.c * int64_t{sizeof(float)};
}

constexpr int kSumWarps = 8, kSumChannels = 32;

// sums[part][channel] = scale * the sum over the part's pixels; a warp adds every kSumWarps-th pixel.
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

Parts bias_parts(const MaskedConv2dShape& shape, int multiprocessors) {
  return Parts(int64_t{shape.n} * shape.h * shape.w, 4 * multiprocessors, blocks_of(shape.k, kSumChannels));
}

template <class T>
void launch_sum_pixels(const T* x, float* sums, int64_t pixels, const Parts& parts, int channels, float scale,
                       const Launch& launch) {
  const int64_t blocks = parts.count * blocks_of(channels, kSumChannels);
  LAUNCH(sum_pixels<T>, static_cast<unsigned>(blocks), 32 * kSumWarps, 0, launch.stream)
  (x, sums, pixels, parts.pixels, channels, scale);
}

}  // namespace

int64_t bias_gradient_workspace(const MaskedConv2dShape& shape, int multiprocessors) {
  return bias_parts(shape, multiprocessors).count * shape.k * int64_t{sizeof(float)};
}

void bias_gradient(const MaskedConv2dBackwardWeight& op, float* workspace, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  const int64_t pixels = int64_t{shape.n} * shape.h * shape.w;
  const Parts parts = bias_parts(shape, launch.multiprocessors);
  with_precision(shape.precision, [&]<Precision precision>() {
    launch_sum_pixels(static_cast<const Element<precision>*>(op.grad_y), workspace, pixels, parts, shape.k, 1,
                      launch);
  });
  launch_sum_pixels<float>(workspace, op.grad_bias, parts.count, Parts(parts.count, 1, 1), shape.k,
                           1 / gradient_scale(shape.precision, pixels), launch);
}

int64_t backward_weight_workspace(const MaskedConv2dShape& shape, int multiprocessors) {
  return GradientPlan(shape, multiprocessors).parts.count * filter_bytes(shape) +
         bias_gradient_workspace(shape, multiprocessors);
}

void backward_weight(const MaskedConv2dBackwardWeight& op, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  const GradientPlan plan(shape, launch.multiprocessors);
  float* partial = reinterpret_cast<float*>(launch.workspace);
  if (plan.tiles > 0) {
    with_precision(shape.precision, [&]<Precision precision>() {
      using T = Element<precision>;
      const auto launch_tiles = [&]<class Shape>(Shape) {
        using Tile = GradientTile<precision, Shape>;
        constexpr auto kernel = weight_gradient<precision, Shape>;
        allow_shared_memory(kernel, Tile::kSharedBytes);
        LAUNCH(kernel, static_cast<unsigned>(plan.tiles * plan.parts.count), Tile::kThreads,
               Tile::kSharedBytes, launch.stream)
        (static_cast<const T*>(op.x), static_cast<const T*>(op.grad_y), partial,
         TapIndex(shape, Direction::kForward), ImagePixels(shape), shape.k, filter_slots(shape),
         plan.parts.pixels);
      };
      plan.large ? launch_tiles(LargeTile{}) : launch_tiles(SmallTile{});
    });
  }
  unpack_gradient(op, partial, plan.parts.count, false, launch);
  bias_gradient(op, reinterpret_cast<float*>(launch.workspace + plan.parts.count * filter_bytes(shape)),
                launch);
}

}  // namespace pixelcnn::cuda
