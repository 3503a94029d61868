// Declares our own kernels of masked convolution, and the shapes and indices that they share.
#pragma once
#include <optional>

#include "divider.h"
#include "launch.h"
#include "ptx.h"
#include "tile_choice.h"

namespace pixelcnn::cuda {

// The number of taps in the packed filter, including the masked ones of the output pixel's own row.
constexpr int filter_slots(const FilterShape& shape) {
  return (shape.window.above + 1) * shape.window.columns;
}

// The number of taps that have a weight that is not masked. They are the first slots. With a single group,
// a filter that sees its own row to the left sees no channel at the centre.
constexpr int live_taps(const FilterShape& shape) {
  const bool centre_is_empty = shape.window.own_row == OwnRow::kLeft && shape.channel_groups == 1;
  return shape.window.taps() - (centre_is_empty ? 1 : 0);
}

// A pixel as a convolution sees it: where it lies in memory, and which rows and columns of the filter
// reach the image from there.
//
// Every copy asks whether its tap reaches the image, so the answer must be cheap. It takes one
// subtraction: the pixel's bounds from the tap's position. Both hold three numbers, one byte for each:
//   byte   position of a tap      bounds of a pixel
//   0      column                 first column that finds the image
//   1      kMostTaps - column     kMostTaps - last column that finds the image
//   2      row                    first row that finds the image; rows below it do too
// In addition, the highest bit of every byte of a position is set. The subtraction clears that bit if the
// byte's number is less than that of the bounds, so the tap reaches the image if all four bits are still
// set.
struct Place {
  int64_t pixel;
  uint32_t bounds;

  __device__ static Place nowhere() { return {0, 0x7f7f7f7fu}; }
};
constexpr uint32_t kReached = 0x80808080u;
__device__ inline bool reaches(uint32_t position, uint32_t bounds) {
  return ((position - bounds) & kReached) == kReached;
}
// The position after the last tap. Its highest bits are not set, so it reaches the image of no pixel.
constexpr uint32_t kNoTap = 0x7f7f7f7fu;

struct Tap {
  int64_t offset;     // in elements, from the pixel's first channel to the channel that the tap reads
  uint32_t position;  // in the filter, as Place describes it
};
constexpr int kMostTaps = 31;  // in a row or column of a filter
// These are added to a position to move it by one column or by one row.
constexpr uint32_t kNextColumn = 1u - (1u << 8), kNextRow = 1u << 16;
__host__ __device__ constexpr uint32_t tap_position(int row, int column) {
  return kReached + static_cast<uint32_t>(row << 16 | (kMostTaps - column) << 8 | column);
}
__host__ __device__ constexpr int column_of(uint32_t position) { return static_cast<int>(position & 0x7f); }

// Numbers the live taps of all channels: taps in row-major order, channels innermost. The channels are
// those of the tensor that the taps read, and `pitch` is the distance between its rows in pixels.
// Backward, a tap points in the opposite direction: to the output pixel that sees this input pixel through
// it.
class TapIndex {
 public:
  TapIndex(const FilterShape& shape, Direction direction, int pitch)
      : channels_(direction == Direction::kForward ? shape.c : shape.k),
        columns_(shape.window.columns),
        count_(live_taps(shape) * channels_),
        column_step_(direction == Direction::kForward ? channels_ : -channels_),
        row_step_(int64_t{column_step_} * pitch),
        to_next_tap_(in_vectors(column_step_ - channels_, shape.precision)),
        to_next_row_(in_vectors(row_step_ - int64_t{columns_} * column_step_, shape.precision)),
        by_channels_(channels_),
        by_columns_(columns_),
        first_(-shape.window.above * row_step_ - shape.window.left * int64_t{column_step_}) {}

  __host__ __device__ int count() const { return count_; }
  __host__ __device__ int channels() const { return channels_; }
  __device__ int columns() const { return columns_; }  // of the window
  // The distances in vectors from the end of a tap's channels to the next tap, and from the end of a row's
  // last tap to the next row.
  __device__ uint32_t to_next_tap() const { return to_next_tap_; }
  __device__ uint32_t to_next_row() const { return to_next_row_; }
  // Returns the tap of a flat index and sets `index` to the channel.
  __device__ int divide(int& index) const { return by_channels_.divide(index); }
  // Returns kNoTap for an index after the last.
  __device__ Tap at(int index) const {
    if (index >= count_) return {0, kNoTap};
    int column = by_channels_.divide(index);
    const int row = by_columns_.divide(column);
    return {row * row_step_ + first_ + (column * column_step_ + index),  // the sum in parentheses is small
            tap_position(row, column)};
  }

 private:
  static uint32_t in_vectors(int64_t elements, Precision precision) {
    return static_cast<uint32_t>(elements * element_bytes(precision) / 16);
  }

  int channels_, columns_, count_, column_step_;
  int64_t row_step_;
  uint32_t to_next_tap_, to_next_row_;
  Divider by_channels_, by_columns_;
  int64_t first_;  // in elements, from a pixel to the first tap
};

// The pixels of a batch of images without borders, image by image.
class ImagePixels {
 public:
  // A block's pixels are neighbours, so neighbouring taps read almost the same pixels.
  static constexpr Cache kCache = Cache::kL1AndL2;

  ImagePixels(const MaskedConv2dShape& shape, Direction direction)
      : count_(static_cast<int>(int64_t{shape.n} * shape.h * shape.w)),
        h_(shape.h),
        w_(shape.w),
        above_(shape.window.above),
        left_(shape.window.left),
        last_(shape.window.columns - 1),
        mirrored_(direction == Direction::kBackward),
        by_h_(shape.h),
        by_w_(shape.w) {}

  __device__ void begin() {}
  __host__ __device__ int count() const { return count_; }
  int64_t most() const { return count_; }
  int64_t all() const { return count_; }  // in memory
  int pitch() const { return w_; }
  __device__ int64_t pixel(int64_t index) const { return index; }
  __device__ Place at(int64_t index) const {
    return index < count_ ? Place{index, bounds(static_cast<int>(index))} : Place::nowhere();
  }
  // Backward, taps point down and to the right, as if the image were turned around.
  __device__ uint32_t bounds(int index) const {
    int column = index, row = by_w_.divide(column);
    static_cast<void>(by_h_.divide(row));
    if (mirrored_) row = h_ - 1 - row, column = w_ - 1 - column;
    const int first_row = max(0, above_ - row), first_column = max(0, left_ - column),
              last_column = min(last_, w_ - 1 - column + left_);
    return static_cast<uint32_t>(first_row << 16 | (kMostTaps - last_column) << 8 | first_column);
  }

 private:
  int count_, h_, w_, above_, left_,
      last_;  // of the window: its rows above, columns to the left, last column
  bool mirrored_;
  Divider by_h_, by_w_;
};

// Elements of 16 bits pass through registers. This many are loaded before the first one is waited for.
constexpr int kElementsAtOnce = 4;

// Copies one element from global to shared memory, or 0 unless `valid`.
template <class T>
__device__ inline void copy_element(T* to, const T* from, bool valid) {
  if constexpr (sizeof(T) == 4)
    cp_async<4>(to, from, valid);
  else
    *to = valid ? *from : T{};
}

// How operands are copied into shared memory: 16 bytes at once if they are contiguous and aligned, else
// element by element.
enum class Copies { kVectors, kElements };

// Calls body.template operator()<copies>().
template <class Body>
void with_copies(bool whole_vectors, const Body& body) {
  if (whole_vectors)
    body.template operator()<Copies::kVectors>();
  else
    body.template operator()<Copies::kElements>();
}

// Copies 16 bytes of neighbours from global to shared memory. Only the first `count` elements exist, and
// the others become 0. With vectors, either all elements exist or none.
template <Copies copies, class T>
__device__ inline void copy_neighbours(T* to, const T* from, int count) {
  if constexpr (copies == Copies::kVectors) {
    cp_async<16>(to, from, count > 0);
  } else {
#pragma unroll kElementsAtOnce
    for (int e = 0; e < int{16 / sizeof(T)}; ++e) copy_element(to + e, from + e, e < count);
  }
}

// Distances in a tensor are counted in vectors of 16 bytes, modulo 2^32, because that takes half the
// registers of a pointer. This works for tensors of fewer than kMostVectors.
constexpr int64_t kMostVectors = int64_t{1} << 32;
template <class T>
__host__ __device__ constexpr uint32_t vectors_of(int64_t elements) {
  return static_cast<uint32_t>(elements / int64_t{16 / sizeof(T)});
}
template <Cache cache = Cache::kL2, class T>
__device__ inline void copy_vector(T* to, const T* tensor, uint32_t vector, bool valid) {
  cp_async<16, cache>(to, tensor + uint64_t{vector} * (16 / sizeof(T)), valid);
}

// Whether both operands consist of whole vectors and x has few enough of them for 32 bits.
template <class T>
bool has_vectors(int channels, int other_channels, int64_t x_count) {
  constexpr int kVector = 16 / sizeof(T);
  return channels % kVector == 0 && other_channels % kVector == 0 && x_count / kVector < kMostVectors;
}

// Our kernels. Convolutions run in the given tile, or in the one that is expected to be faster. They need
// no workspace. `forward` calls `forward_in_region` for an op with a region.
void forward(const MaskedConv2d& op, const Launch& launch, std::optional<TileSize> tile = {});
void forward_in_region(const MaskedConv2d& op, const Launch& launch, std::optional<TileSize> tile);
void backward_input(const MaskedConv2dBackwardInput& op, const Launch& launch,
                    std::optional<TileSize> tile = {});
int64_t backward_weight_workspace(const MaskedConv2dShape& shape);
void backward_weight(const MaskedConv2dBackwardWeight& op, const Launch& launch);

// The remaining work after a plan of cuDNN.
// Computes grad_weight by adding `parts` filters [K][slots][C] in order. These are float32, or of the
// element type if `rounded`. Also computes grad_bias from bias_parts (parts, K), unless one of them is null.
void unpack_gradient(const MaskedConv2dBackwardWeight& op, const void* packed, int parts, bool rounded,
                     const float* bias_parts, const Launch& launch);
// Computes grad_bias, which is not null, with a workspace of bias_gradient_workspace bytes.
int64_t bias_gradient_workspace(const MaskedConv2dShape& shape);
void bias_gradient(const MaskedConv2dBackwardWeight& op, float* workspace, const Launch& launch);

}  // namespace pixelcnn::cuda
