// The convolution kernel: rows of the product are pixels, columns output channels, the depth is the live taps
// of all input channels. Forward, the input gradient and the sampler's front differ in where pixels lie and
// in how the one packed layout [K][slots][C] is read.
#pragma once
#include "masked_conv2d.h"
#include "tile.h"

namespace pixelcnn::cuda {

template <class T>
struct ConvolveArguments {
  const T* x;         // (pixels, taps.channels())
  const T* weights;   // [K][slots][C]
  const float* bias;  // or null
  const T* gate;      // (pixels, outputs) or null
  void* y;            // (pixels, outputs), float32 if float_y
  TapIndex taps;
  int outputs;
  int first_output, end_output;  // those to compute
  int c, slots;                  // of the weights
  bool relu, float_y;
};

// Rows of the product: the pixels of one block, each shifted by the taps.
template <class T, class Tile, class Pixels>
class ShiftedPixels {
 public:
  __device__ ShiftedPixels(const T* x, const TapIndex& taps, const Pixels& pixels, int64_t first)
      : x_(x), taps_(taps), pixels_(pixels) {
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) places_[i] = pixels.at(first + Tile::line(i));
  }

  __device__ void begin(int step) {
    index_ = step * Tile::kStageDepth + Tile::element();
    tap_ = taps_.at(index_);
  }
  __device__ void copy(int i, T* to) const { copy_taps(to, x_, taps_, pixels_, places_[i], index_, tap_); }

 private:
  const T* x_;
  const TapIndex& taps_;
  const Pixels& pixels_;
  Place places_[Tile::kCopies];
  int index_;
  TapIndex::Position tap_;
};

// Columns of the product, forward: a filter is a line along the depth.
template <class T, class Tile>
class FilterLines {
 public:
  __device__ FilterLines(const ConvolveArguments<T>& conv, int first) : conv_(conv), first_(first) {}

  __device__ void begin(int step) { index_ = step * Tile::kStageDepth + Tile::element(); }
  __device__ void copy(int i, T* to) const {
    const int output = first_ + Tile::line(i), count = output < conv_.end_output ? conv_.taps.count() : 0;
    const T* from = conv_.weights + int64_t{output} * conv_.slots * conv_.c + index_;
    copy_neighbours(to, from, count - index_, conv_.taps.vectors());
  }

 private:
  const ConvolveArguments<T>& conv_;
  int first_, index_;
};

// Columns of the product, backward: the depth is (tap, k), a line holds the input channels of one tap of one
// filter.
template <class T, class Tile>
class TapLines {
 public:
  __device__ TapLines(const ConvolveArguments<T>& conv, int first)
      : conv_(conv), output_(first + Tile::element()) {}

  __device__ void begin(int step) { first_index_ = step * Tile::kStageDepth; }
  __device__ void copy(int i, T* to) const {
    const int index = first_index_ + Tile::line(i), end = index < conv_.taps.count() ? conv_.end_output : 0;
    int k = index;
    const int tap = conv_.taps.divide(k);
    const T* from = conv_.weights + (int64_t{k} * conv_.slots + tap) * conv_.c + output_;
    copy_neighbours(to, from, end - output_, conv_.c % Tile::kVector == 0);
  }

 private:
  const ConvolveArguments<T>& conv_;
  int output_, first_index_;
};

// Two neighbours; `aligned` where they may be one access.
template <class T>
__device__ inline void store_pair(T* to, float low, float high, bool both, bool aligned) {
  if (both && aligned) {
    if constexpr (sizeof(T) == 4)
      *reinterpret_cast<float2*>(to) = make_float2(low, high);
    else
      *reinterpret_cast<uint32_t*>(to) = pack<T>(low, high);
    return;
  }
  to[0] = from_float<T>(low);
  if (both) to[1] = from_float<T>(high);
}

template <Precision precision, Direction direction, class Shape>
using ConvolveTile = BlockTile<precision, Shape, Lines::kAlongDepth,
                               direction == Direction::kForward ? Lines::kAlongDepth : Lines::kAcrossDepth>;

template <Precision precision, Direction direction, class Shape, class Pixels>
__global__ void __launch_bounds__(ConvolveTile<precision, direction, Shape>::kThreads)
    convolve(const ConvolveArguments<Element<precision>> conv, Pixels pixels) {
  using T = Element<precision>;
  using Tile = ConvolveTile<precision, direction, Shape>;
  DYNAMIC_SHARED(T, shared);
  pixels.begin();
  const int across = (conv.end_output - conv.first_output + Shape::kColumns - 1) / Shape::kColumns;
  const int64_t first_pixel = int64_t{blockIdx.x / across} * Shape::kRows;
  const int first_output = conv.first_output + static_cast<int>(blockIdx.x) % across * Shape::kColumns;
  if (first_pixel >= pixels.count()) return;

  Tile tile;
  ShiftedPixels<T, typename Tile::A, Pixels> a(conv.x, conv.taps, pixels, first_pixel);
  const int steps = (conv.taps.count() + Tile::kDepth - 1) / Tile::kDepth;
  if constexpr (direction == Direction::kForward) {
    FilterLines<T, typename Tile::B> b(conv, first_output);
    tile.multiply(shared, steps, a, b);
  } else {
    TapLines<T, typename Tile::B> b(conv, first_output);
    tile.multiply(shared, steps, a, b);
  }

  const bool aligned = conv.outputs % 2 == 0 && first_output % 2 == 0;
  tile.for_each_pair([&](int row, int column, float low, float high) {
    const int output = first_output + column;
    if (first_pixel + row >= pixels.count() || output >= conv.end_output) return;
    const bool both = output + 1 < conv.end_output;
    const int64_t at = pixels.at(first_pixel + row).pixel * conv.outputs + output;
    if (conv.bias != nullptr) {
      low += conv.bias[output];
      if (both) high += conv.bias[output + 1];
    }
    if (conv.relu) {  // NaN stays
      low = low < 0 ? 0 : low;
      high = high < 0 ? 0 : high;
    }
    if (conv.gate != nullptr) {
      low = to_float(conv.gate[at]) <= 0 ? 0 : low;
      if (both) high = to_float(conv.gate[at + 1]) <= 0 ? 0 : high;
    }
    if (conv.float_y)
      store_pair(static_cast<float*>(conv.y) + at, low, high, both, aligned);
    else
      store_pair(static_cast<T*>(conv.y) + at, low, high, both, aligned);
  });
}

// `most` is the largest number of pixels there can be.
template <Precision precision, Direction direction, class Shape, class Pixels>
void launch_convolve(const ConvolveArguments<Element<precision>>& conv, const Pixels& pixels, int64_t most,
                     const Launch& launch) {
  using Tile = ConvolveTile<precision, direction, Shape>;
  constexpr auto kernel = convolve<precision, direction, Shape, Pixels>;
  const int64_t blocks =
      blocks_of(most, Shape::kRows) * blocks_of(conv.end_output - conv.first_output, Shape::kColumns);
  allow_shared_memory(kernel, Tile::kSharedBytes);
  LAUNCH(kernel, static_cast<unsigned>(blocks), Tile::kThreads, Tile::kSharedBytes, launch.stream)
  (conv, pixels);
}

// Fewer, larger blocks are faster, as long as they fill the device.
template <Precision precision, Direction direction, class Pixels>
void launch_in_tiles(const ConvolveArguments<Element<precision>>& conv, const Pixels& pixels, int64_t most,
                     const Launch& launch) {
  const int columns = conv.end_output - conv.first_output;
  const bool large =
      columns > SmallTile::kColumns &&
      blocks_of(most, LargeTile::kRows) * blocks_of(columns, LargeTile::kColumns) >= launch.multiprocessors;
  if (large)
    launch_convolve<precision, direction, LargeTile>(conv, pixels, most, launch);
  else
    launch_convolve<precision, direction, SmallTile>(conv, pixels, most, launch);
}

}  // namespace pixelcnn::cuda
