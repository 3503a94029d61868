// Implements the convolution kernel as a matrix product: its rows are pixels, its columns output channels,
// and its depth the live taps of all input channels. Forward, input gradient and sampler's front differ
// only in where pixels lie and in how the one packed layout [K][slots][C] is read.
#pragma once
#include <type_traits>

#include "masked_conv2d.h"
#include "tile.h"
#include "tile_choice.h"

namespace pixelcnn::cuda {

template <class T>
struct ConvolveArguments {
  const T* x;                      // (pixels, taps.channels())
  const T* weights;                // [K][slots][C]
  const float* bias = nullptr;     // or null
  const T* relu_output = nullptr;  // (pixels, outputs) or null
  void* y = nullptr;               // (pixels, outputs), float32 if float_y
  TapIndex taps;
  int outputs;
  int first_output = 0, end_output;  // the range to compute
  int c, slots;                      // of the weights
  bool relu = false, float_y = false;
};

// Copies the rows of the product: the pixels of one block, shifted by each tap. Each step continues from
// the one before, since the flat index of taps and channels grows by the depth of a stage. The index
// mostly stays within a tap or moves to the next one, so additions find the tap without a division.
template <class T, class Tile, class Pixels>
class ShiftedPixels {
 public:
  __device__ ShiftedPixels(const ConvolveArguments<T>& conv, const Pixels& pixels, int64_t first)
      : x_(conv.x), taps_(conv.taps), channel_(Tile::element()) {
    const Tap tap = taps_.at(channel_);
    static_cast<void>(taps_.divide(channel_));
    position_ = tap.position;
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) {
      const Place place = pixels.at(first + Tile::line(i));
      from_[i] = vectors_of<T>(place.pixel * taps_.channels() + tap.offset);
      bounds_[i] = place.bounds;
    }
  }

  __device__ void load(int step, T* stage) {
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i)
      copy_vector<Pixels::kCache>(Tile::vector(stage, i), x_, from_[i], reaches(position_, bounds_[i]));
    const uint32_t distance = move_to(step + 1);
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) from_[i] += distance;
  }

 private:
  // Moves to the tap of this step, and returns by how many vectors the copies move.
  __device__ uint32_t move_to(int step) {
    uint32_t distance = Tile::kStageDepth / Tile::kVector;
    for (channel_ += Tile::kStageDepth; channel_ >= taps_.channels(); channel_ -= taps_.channels()) {
      distance += taps_.to_next_tap();
      position_ += kNextColumn;
      if (column_of(position_) < taps_.kernel_size()) continue;
      distance += taps_.to_next_row();
      position_ += kNextRow - static_cast<uint32_t>(taps_.kernel_size()) * kNextColumn;
    }
    if (step * Tile::kStageDepth + Tile::element() >= taps_.count()) position_ = kNoTap;
    return distance;
  }

  const T* x_;
  const TapIndex& taps_;
  int channel_;  // that the step begins with
  uint32_t position_, from_[Tile::kCopies], bounds_[Tile::kCopies];
};

// Copies the same rows element by element.
template <class T, class Tile, class Pixels>
class ShiftedPixelElements {
 public:
  __device__ ShiftedPixelElements(const ConvolveArguments<T>& conv, const Pixels& pixels, int64_t first)
      : taps_(conv.taps) {
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) {
      const Place place = pixels.at(first + Tile::line(i));
      from_[i] = conv.x + place.pixel * taps_.channels();
      bounds_[i] = place.bounds;
    }
  }

  __device__ void load(int step, T* stage) const {
#pragma unroll kElementsAtOnce
    for (int e = 0; e < Tile::kVector; ++e) {
      const Tap tap = taps_.at(step * Tile::kStageDepth + Tile::element() + e);
#pragma unroll
      for (int i = 0; i < Tile::kCopies; ++i)
        copy_element(Tile::vector(stage, i) + e, from_[i] + tap.offset, reaches(tap.position, bounds_[i]));
    }
  }

 private:
  const TapIndex& taps_;
  const T* from_[Tile::kCopies];
  uint32_t bounds_[Tile::kCopies];
};

template <Copies copies, class T, class Tile, class Pixels>
using ShiftedPixelsBy = std::conditional_t<copies == Copies::kVectors, ShiftedPixels<T, Tile, Pixels>,
                                           ShiftedPixelElements<T, Tile, Pixels>>;

// Copies the columns of the product forward: a filter is a line along the depth.
template <class T, class Tile, Copies copies>
class FilterLines {
 public:
  __device__ FilterLines(const ConvolveArguments<T>& conv, int first) {
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) {
      const int output = first + Tile::line(i);
      from_[i] = conv.weights + int64_t{output} * conv.slots * conv.c + Tile::element();
      left_[i] = output < conv.end_output ? conv.taps.count() - Tile::element() : 0;
    }
  }

  __device__ void load(int, T* stage) {
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) {
      copy_neighbours<copies>(Tile::vector(stage, i), from_[i], left_[i]);
      from_[i] += Tile::kStageDepth;
      left_[i] -= Tile::kStageDepth;
    }
  }

 private:
  const T* from_[Tile::kCopies];
  int left_[Tile::kCopies];  // elements from there to the end of the line
};

// Copies the columns of the product backward: the depth is (tap, k), and a line holds the input channels
// of one tap of one filter. If every stage lies within one tap, the lines are equally far apart and one
// division serves them all.
template <class T, class Tile, Copies copies>
class TapLines {
 public:
  __device__ TapLines(const ConvolveArguments<T>& conv, int first)
      : conv_(conv),
        output_(first + Tile::element()),
        within_taps_(copies == Copies::kVectors && conv.taps.channels() % Tile::kStageDepth == 0),
        from_(conv.weights + offset(Tile::line(0), 0)) {}

  __device__ void load(int step, T* stage) {
    int k = step * Tile::kStageDepth;
    if (within_taps_) {
      const int tap = conv_.taps.divide(k);
      const T* from = from_ + (offset(k, tap) - offset(0, 0));
#pragma unroll
      for (int i = 0; i < Tile::kCopies; ++i)
        copy_neighbours<copies>(Tile::vector(stage, i),
                                from + i * (offset(Tile::kLinesAtOnce, 0) - offset(0, 0)),
                                conv_.end_output - output_);
      return;
    }
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) {
      int filter = k + Tile::line(i);
      const int count = filter < conv_.taps.count() ? conv_.end_output - output_ : 0;
      const int tap = conv_.taps.divide(filter);
      copy_neighbours<copies>(Tile::vector(stage, i), conv_.weights + offset(filter, tap), count);
    }
  }

 private:
  __device__ int64_t offset(int k, int tap) const {
    return (int64_t{k} * conv_.slots + tap) * conv_.c + output_;
  }

  const ConvolveArguments<T>& conv_;
  int output_;
  bool within_taps_;
  const T* from_;  // points to the first line
};

// Stores two neighbours, or only the first unless `both`. Two that are `aligned` take one access.
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

template <Precision precision, Direction direction, class Shape, class Pixels, Copies copies>
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
  ShiftedPixelsBy<copies, T, typename Tile::A, Pixels> a(conv, pixels, first_pixel);
  const int steps = (conv.taps.count() + Tile::kDepth - 1) / Tile::kDepth;
  if constexpr (direction == Direction::kForward) {
    FilterLines<T, typename Tile::B, copies> b(conv, first_output);
    tile.multiply(shared, steps, a, b);
  } else {
    TapLines<T, typename Tile::B, copies> b(conv, first_output);
    tile.multiply(shared, steps, a, b);
  }

  const bool aligned = conv.outputs % 2 == 0 && first_output % 2 == 0;
  tile.for_each_pair([&](int row, int column, float low, float high) {
    const int output = first_output + column;
    if (first_pixel + row >= pixels.count() || output >= conv.end_output) return;
    const bool both = output + 1 < conv.end_output;
    const int64_t at = pixels.pixel(first_pixel + row) * conv.outputs + output;
    if (conv.bias != nullptr) {
      low += conv.bias[output];
      if (both) high += conv.bias[output + 1];
    }
    if (conv.relu) {  // keeps NaN
      low = low < 0 ? 0 : low;
      high = high < 0 ? 0 : high;
    }
    if (conv.relu_output != nullptr) {
      low = to_float(conv.relu_output[at]) <= 0 ? 0 : low;
      if (both) high = to_float(conv.relu_output[at + 1]) <= 0 ? 0 : high;
    }
    if (conv.float_y)
      store_pair(static_cast<float*>(conv.y) + at, low, high, both, aligned);
    else
      store_pair(static_cast<T*>(conv.y) + at, low, high, both, aligned);
  });
}

// `most` is the largest possible number of pixels.
template <Precision precision, Direction direction, class Shape, class Pixels>
void launch_convolve(const ConvolveArguments<Element<precision>>& conv, const Pixels& pixels, int64_t most,
                     const Launch& launch) {
  using Tile = ConvolveTile<precision, direction, Shape>;
  const int64_t blocks =
      blocks_of(most, Shape::kRows) * blocks_of(conv.end_output - conv.first_output, Shape::kColumns);
  const int channels = conv.taps.channels();
  const bool whole_vectors = has_vectors<Element<precision>>(channels, conv.c, pixels.all() * channels);
  with_copies(whole_vectors, [&]<Copies copies>() {
    allow_shared_memory(convolve<precision, direction, Shape, Pixels, copies>, Tile::kSharedBytes);
    if (Pixels::kCache == Cache::kL1AndL2)
      leave_rest_to_l1(convolve<precision, direction, Shape, Pixels, copies>, Tile::kSharedBytes);
    LAUNCH((convolve<precision, direction, Shape, Pixels, copies>), static_cast<unsigned>(blocks),
           Tile::kThreads, Tile::kSharedBytes, launch.stream)
    (conv, pixels);
  });
}

template <Precision precision, Direction direction>
TileSize faster_tile(const ProductShape& product, int multiprocessors) {
  const auto clocks = [&]<class Shape>(Shape) {
    return tile_cost<Shape>(product, ConvolveTile<precision, direction, Shape>::kSharedBytes, multiprocessors)
        .clocks;
  };
  return clocks(LargeTile{}) <= clocks(SmallTile{}) ? TileSize::kLarge : TileSize::kSmall;
}

// Launches the kernel in the given tile, or in the one that is expected to be faster.
template <Precision precision, Direction direction, class Pixels>
void launch_in_tiles(const ConvolveArguments<Element<precision>>& conv, const Pixels& pixels, int64_t most,
                     const Launch& launch, std::optional<TileSize> tile) {
  const ProductShape product = {most, conv.end_output - conv.first_output,
                                int64_t{conv.taps.count()} * element_bytes(precision),
                                precision != Precision::kF32};
  if (!tile) tile = faster_tile<precision, direction>(product, launch.multiprocessors);
  if (tile == TileSize::kLarge)
    launch_convolve<precision, direction, LargeTile>(conv, pixels, most, launch);
  else
    launch_convolve<precision, direction, SmallTile>(conv, pixels, most, launch);
}

}  // namespace pixelcnn::cuda
