// Implements the convolution kernel as a matrix product. Forward, input gradient and the sampler's regions
// differ only in where pixels lie and in how the packed filter is read (masked_conv2d_operands.h).
#pragma once
#include "masked_conv2d_operands.h"
#include "tile_choice.h"

namespace pixelcnn::cuda {

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

// Computes the outputs of one block. `add` is like y; only convolutions that add read it. Whether one does
// is a template parameter, because the loads cost registers, and the others have none to spare.
template <Precision precision, Direction direction, class Shape, class Pixels, Copies copies, bool adds>
__device__ inline void convolve_block(const ConvolveArguments<Element<precision>>& conv, Pixels& pixels,
                                      const void* add) {
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
    if constexpr (adds) {
      const auto addend = [&](int64_t i) {
        return conv.float_y ? static_cast<const float*>(add)[i] : to_float(static_cast<const T*>(add)[i]);
      };
      low += addend(at);
      if (both) high += addend(at + 1);
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

template <Precision precision, Direction direction, class Shape, class Pixels, Copies copies>
__global__ void __launch_bounds__(ConvolveTile<precision, direction, Shape>::kThreads)
    convolve(const ConvolveArguments<Element<precision>> conv, Pixels pixels) {
  convolve_block<precision, direction, Shape, Pixels, copies, false>(conv, pixels, nullptr);
}

template <Precision precision, Direction direction, class Shape, class Pixels, Copies copies>
__global__ void __launch_bounds__(ConvolveTile<precision, direction, Shape>::kThreads)
    convolve_and_add(const ConvolveArguments<Element<precision>> conv, Pixels pixels, const void* add) {
  convolve_block<precision, direction, Shape, Pixels, copies, true>(conv, pixels, add);
}

template <Precision precision, Direction direction, class Shape, class Pixels>
void launch_convolve(const ConvolveArguments<Element<precision>>& conv, const void* add, const Pixels& pixels,
                     const Launch& launch) {
  using Tile = ConvolveTile<precision, direction, Shape>;
  const int64_t blocks = blocks_of(pixels.most(), Shape::kRows) *
                         blocks_of(conv.end_output - conv.first_output, Shape::kColumns);
  const int channels = conv.taps.channels();
  const bool whole_vectors = has_vectors<Element<precision>>(channels, conv.c, pixels.all() * channels);
  with_copies(whole_vectors, [&]<Copies copies>() {
    const auto prepare = [](auto* kernel) {
      allow_shared_memory(kernel, Tile::kSharedBytes);
      if (Pixels::kCache == Cache::kL1AndL2) leave_rest_to_l1(kernel, Tile::kSharedBytes);
    };
    if (add != nullptr) {
      prepare(convolve_and_add<precision, direction, Shape, Pixels, copies>);
      LAUNCH((convolve_and_add<precision, direction, Shape, Pixels, copies>), static_cast<unsigned>(blocks),
             Tile::kThreads, Tile::kSharedBytes, launch.stream)
      (conv, pixels, add);
    } else {
      prepare(convolve<precision, direction, Shape, Pixels, copies>);
      LAUNCH((convolve<precision, direction, Shape, Pixels, copies>), static_cast<unsigned>(blocks),
             Tile::kThreads, Tile::kSharedBytes, launch.stream)
      (conv, pixels);
    }
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

// Launches the kernel in the given tile, or in the one that is expected to be faster. `add` is like y, or
// null.
template <Precision precision, Direction direction, class Pixels>
void launch_in_tiles(const ConvolveArguments<Element<precision>>& conv, const void* add, const Pixels& pixels,
                     const Launch& launch, std::optional<TileSize> tile) {
  const ProductShape product = {pixels.most(), conv.end_output - conv.first_output,
                                int64_t{conv.taps.count()} * element_bytes(precision),
                                precision != Precision::kF32};
  if (!tile) tile = faster_tile<precision, direction>(product, launch.multiprocessors);
  if (tile == TileSize::kLarge)
    launch_convolve<precision, direction, LargeTile>(conv, add, pixels, launch);
  else
    launch_convolve<precision, direction, SmallTile>(conv, add, pixels, launch);
}

// Launches the forward convolution at the given pixels, for the outputs of the region's group.
template <class Pixels>
void launch_forward(const MaskedConv2d& op, const Pixels& pixels, const Launch& launch,
                    std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  const int group = op.region.group;
  const bool all = group == Region::kAllGroups;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {.x = static_cast<const T*>(op.x),
                                       .weights = static_cast<const T*>(op.packed),
                                       .bias = op.bias,
                                       .y = op.y,
                                       .taps = TapIndex(shape, Direction::kForward, pixels.pitch()),
                                       .outputs = shape.k,
                                       .first_output = all ? 0 : shape.first_output(group),
                                       .end_output = all ? shape.k : shape.first_output(group + 1),
                                       .c = shape.c,
                                       .slots = filter_slots(shape),
                                       .relu = op.relu != 0,
                                       .float_y = op.float_y != 0};
    launch_in_tiles<precision, Direction::kForward>(conv, op.add, pixels, launch, tile);
  });
}

}  // namespace pixelcnn::cuda
