// Computes the gradients of a masked convolution's weights and bias as one matrix product.
//
// Its rows are (tap, input channel), its columns output channels, and its depth the pixels. One more row
// is all ones; its sums are the gradient of the bias, which therefore needs no separate launch. The
// pixels are split into parts: each block writes the sums of its part in the packed layout [K][slots][C],
// and the parts are then added in order. The split depends on the shape only, so that the order of
// additions, and with it the bits of a gradient, does not depend on the GPU.
#include <type_traits>

#include "gradient_parts.h"
#include "masked_conv2d.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

// In tf32 the product rounds its factors, which would round the bias gradient too, so the row of ones is
// left out there.
constexpr bool has_row_of_ones(Precision precision) { return precision != Precision::kTf32; }

// Copies x: lines are pixels, and across them lie the channels of all taps, then the row of ones. A thread
// copies the same tap of every line. Whether the tap reaches the image there is computed by the lane that
// belongs to the line, and shuffled to the others.
template <class T, class Tile, Copies copies>
class TapsOfPixels {
 public:
  __device__ TapsOfPixels(const T* x, const TapIndex& taps, const ImagePixels& pixels, bool ones,
                          int first_index, int64_t first_pixel, int64_t end_pixel)
      : x_(x),
        taps_(taps),
        pixels_(pixels),
        index_(first_index + Tile::element()),
        ones_(ones ? taps.count() - index_ : INT32_MAX),
        end_(static_cast<int>(end_pixel)),
        count_(static_cast<int>(end_pixel - first_pixel)) {
    const Tap tap = taps.at(index_);
    position_ = tap.position;
    from_ = vectors_of<T>((first_pixel + Tile::line(0)) * taps.channels() + tap.offset);
  }

  __device__ void load(int step, T* stage) {
    const int left = count_ - step * Tile::kStageDepth;
    uint32_t bounds[kHeld];
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int line = 32 * i + static_cast<int>(threadIdx.x) % 32;
      bounds[i] = line < left ? pixels_.bounds(end_ - left + line) : Place::nowhere().bounds;
    }
    uint32_t own[Tile::kCopies];
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i)
      own[i] = __shfl_sync(kFullWarp, bounds[i * Tile::kLinesAtOnce / 32], Tile::line(i) % 32);
    if constexpr (copies == Copies::kVectors)
      load_vectors(own, stage);
    else
      load_elements(own, x_ + (int64_t{end_} - left + Tile::line(0)) * taps_.channels(), stage);
  }

 private:
  static constexpr int kHeld = (Tile::kStageDepth + 31) / 32;  // lines whose bounds one lane computes
  static_assert(kHeld == 1 || Tile::kLinesAtOnce % 32 == 0);

  __device__ void load_vectors(const uint32_t (&bounds)[Tile::kCopies], T* stage) {
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i) {
      T* to = Tile::vector(stage, i);
      if (ones_ == 0) {
        Vector<T> one = {};
        one.at[0] = from_float<T>(1);
        *reinterpret_cast<Vector<T>*>(to) = one;
      } else {
        const uint32_t distance = vectors_of<T>(int64_t{i} * Tile::kLinesAtOnce * taps_.channels());
        copy_vector<Cache::kL1AndL2>(to, x_, from_ + distance, reaches(position_, bounds[i]));
      }
    }
    from_ += vectors_of<T>(int64_t{Tile::kStageDepth} * taps_.channels());
  }

  // `from` points to the pixel of the first copy.
  __device__ void load_elements(const uint32_t (&bounds)[Tile::kCopies], const T* from, T* stage) const {
#pragma unroll kElementsAtOnce
    for (int e = 0; e < Tile::kVector; ++e) {
      const Tap tap = taps_.at(index_ + e);
#pragma unroll
      for (int i = 0; i < Tile::kCopies; ++i) {
        T* to = Tile::vector(stage, i) + e;
        if (ones_ == e)
          *to = from_float<T>(1);
        else
          copy_element(to, from + int64_t{i} * Tile::kLinesAtOnce * taps_.channels() + tap.offset,
                       reaches(tap.position, bounds[i]));
      }
    }
  }

  const T* x_;
  const TapIndex& taps_;
  const ImagePixels& pixels_;
  int index_, ones_;          // the thread's first row of the product; distance to the row of ones
  int end_, count_;           // end and number of the part's pixels
  uint32_t position_, from_;  // of the step's first copy
};

// Copies grad_y: lines are pixels, and across them lie their channels.
template <class T, class Tile, Copies copies>
class ChannelsOfPixels {
 public:
  __device__ ChannelsOfPixels(const T* x, int channels, int first_channel, int64_t first_pixel,
                              int64_t end_pixel)
      : channels_(channels),
        count_(channels - first_channel - Tile::element()),
        pixels_(static_cast<int>(end_pixel - first_pixel)),
        from_(x + (first_pixel + Tile::line(0)) * channels + first_channel + Tile::element()) {}

  __device__ void load(int step, T* stage) {
    const int left = pixels_ - step * Tile::kStageDepth;
#pragma unroll
    for (int i = 0; i < Tile::kCopies; ++i)
      copy_neighbours<copies>(Tile::vector(stage, i), from_ + int64_t{i} * Tile::kLinesAtOnce * channels_,
                              Tile::line(i) < left ? count_ : 0);
    from_ += int64_t{Tile::kStageDepth} * channels_;
  }

 private:
  int channels_, count_, pixels_;
  const T* from_;
};

template <Precision precision, class Shape>
using GradientTile = BlockTile<precision, Shape, Lines::kAcrossDepth, Lines::kAcrossDepth>;

template <class T>
struct GradientArguments {
  const T* x;
  const T* grad_y;
  float* sums;       // (parts, K, slots, C)
  float* bias_sums;  // (parts, K)
  TapIndex taps;
  ImagePixels pixels;
  int rows;  // in the product
  int k, slots;
  int64_t part_pixels;
};

// x and grad_y have separate kinds of copies, because in the first layer x has few channels and grad_y
// many.
template <Precision precision, class Shape, Copies x_copies, Copies grad_copies>
__global__ void __launch_bounds__(GradientTile<precision, Shape>::kThreads)
    weight_gradient(const GradientArguments<Element<precision>> gradient) {
  using T = Element<precision>;
  using Tile = GradientTile<precision, Shape>;
  DYNAMIC_SHARED(T, shared);
  const TapIndex& taps = gradient.taps;
  const int k = gradient.k, across = (k + Shape::kColumns - 1) / Shape::kColumns;
  const int tiles = (gradient.rows + Shape::kRows - 1) / Shape::kRows * across;
  const int part = static_cast<int>(blockIdx.x) / tiles, index = static_cast<int>(blockIdx.x) % tiles;
  const int first_row = index / across * Shape::kRows, first_column = index % across * Shape::kColumns;
  const int64_t first = part * gradient.part_pixels, all = gradient.pixels.count();
  const int64_t end = first + gradient.part_pixels < all ? first + gradient.part_pixels : all;

  Tile tile;
  TapsOfPixels<T, typename Tile::A, x_copies> a(gradient.x, taps, gradient.pixels, has_row_of_ones(precision),
                                                first_row, first, end);
  ChannelsOfPixels<T, typename Tile::B, grad_copies> b(gradient.grad_y, k, first_column, first, end);
  tile.multiply(shared, static_cast<int>((end - first + Tile::kDepth - 1) / Tile::kDepth), a, b);

  const int filter = gradient.slots * taps.channels();
  float* sums = gradient.sums + part * (int64_t{k} * filter);
  float* bias_sums = gradient.bias_sums + int64_t{part} * k;
  tile.for_each_pair([&](int row, int column, float low, float high) {
    const int tap = first_row + row, output = first_column + column;
    if (tap >= gradient.rows || output >= k) return;
    // Row taps.count() is the row of ones.
    const bool ones = tap == taps.count();
    float* to = ones ? bias_sums + output : sums + int64_t{output} * filter + tap;
    to[0] = low;
    if (output + 1 < k) to[ones ? 1 : filter] = high;
  });
}

// Blocks for each multiprocessor. They all fit on it at once, as the assertion below says.
constexpr int kLargeBlocks = 4, kSmallBlocks = 2;
template <class Shape>
constexpr bool has_room(int blocks) {
  using Tile = GradientTile<Precision::kBf16, Shape>;
  return blocks_per_multiprocessor(90, Tile::kThreads, Tile::kSharedBytes) >= blocks;
}
static_assert(has_room<LargeTile>(kLargeBlocks) && has_room<SmallTile>(kSmallBlocks));

// Says how the weight gradient of one shape is computed.
struct GradientPlan {
  int rows;
  bool large;
  int64_t tiles;
  Parts parts;

  explicit GradientPlan(const MaskedConv2dShape& shape)
      : rows(live_taps(shape) * shape.c + (has_row_of_ones(shape.precision) ? 1 : 0)),
        large(rows > SmallTile::kRows && shape.k > SmallTile::kColumns),
        tiles(large ? tiles_of<LargeTile>(shape) : tiles_of<SmallTile>(shape)),
        parts(int64_t{shape.n} * shape.h * shape.w, kMultiprocessors * (large ? kLargeBlocks : kSmallBlocks),
              tiles > 0 ? tiles : 1) {}

  int64_t sums_bytes(const MaskedConv2dShape& shape) const {
    return parts.count * shape.k * int64_t{filter_slots(shape)} * shape.c * int64_t{sizeof(float)};
  }
  int64_t bias_sums_bytes(const MaskedConv2dShape& shape) const {
    return parts.count * int64_t{shape.k} * int64_t{sizeof(float)};
  }

 private:
  template <class Shape>
  int64_t tiles_of(const MaskedConv2dShape& shape) const {
    return blocks_of(rows, Shape::kRows) * blocks_of(shape.k, Shape::kColumns);
  }
};

}  // namespace

int64_t backward_weight_workspace(const MaskedConv2dShape& shape) {
  const GradientPlan plan(shape);
  const int64_t bias =
      has_row_of_ones(shape.precision) ? plan.bias_sums_bytes(shape) : bias_gradient_workspace(shape);
  return plan.sums_bytes(shape) + bias;
}

void backward_weight(const MaskedConv2dBackwardWeight& op, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  const GradientPlan plan(shape);
  float* sums = reinterpret_cast<float*>(launch.workspace);
  float* bias_sums = reinterpret_cast<float*>(launch.workspace + plan.sums_bytes(shape));
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const GradientArguments<T> gradient = {static_cast<const T*>(op.x),
                                           static_cast<const T*>(op.grad_y),
                                           sums,
                                           bias_sums,
                                           TapIndex(shape, Direction::kForward, shape.w),
                                           ImagePixels(shape, Direction::kForward),
                                           plan.rows,
                                           shape.k,
                                           filter_slots(shape),
                                           plan.parts.pixels};
    const auto launch_kernel = [&]<class Shape, Copies x_copies, Copies grad_copies>() {
      using Tile = GradientTile<precision, Shape>;
      allow_shared_memory(weight_gradient<precision, Shape, x_copies, grad_copies>, Tile::kSharedBytes);
      leave_rest_to_l1(weight_gradient<precision, Shape, x_copies, grad_copies>, Tile::kSharedBytes);
      LAUNCH((weight_gradient<precision, Shape, x_copies, grad_copies>),
             static_cast<unsigned>(plan.tiles * plan.parts.count), Tile::kThreads, Tile::kSharedBytes,
             launch.stream)
      (gradient);
    };
    const auto launch_tiles = [&]<class Shape>(Shape) {
      with_copies(has_vectors<T>(shape.k, shape.k, shape.y_count()), [&]<Copies grad_copies>() {
        if constexpr (grad_copies == Copies::kElements) {
          launch_kernel.template operator()<Shape, grad_copies, grad_copies>();
        } else {
          with_copies(has_vectors<T>(shape.c, shape.c, shape.x_count()), [&]<Copies x_copies>() {
            launch_kernel.template operator()<Shape, x_copies, grad_copies>();
          });
        }
      });
    };
    if (plan.tiles > 0) plan.large ? launch_tiles(LargeTile{}) : launch_tiles(SmallTile{});
  });
  if (has_row_of_ones(shape.precision)) {
    unpack_gradient(op, sums, plan.parts.count, false, bias_sums, launch);
  } else {
    unpack_gradient(op, sums, plan.parts.count, false, nullptr, launch);
    if (op.grad_bias != nullptr) bias_gradient(op, bias_sums, launch);
  }
}

}  // namespace pixelcnn::cuda
