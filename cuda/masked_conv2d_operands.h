// Copies the two operands of a convolution into shared memory, as the rows and columns of a matrix product:
// rows are pixels, columns output channels, and the depth is the live taps of all input channels. Forward
// and backward read the one packed layout [K][slots][C] differently.
#pragma once
#include <type_traits>

#include "masked_conv2d.h"
#include "tile.h"

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
      if (column_of(position_) < taps_.columns()) continue;
      distance += taps_.to_next_row();
      position_ += kNextRow - static_cast<uint32_t>(taps_.columns()) * kNextColumn;
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

}  // namespace pixelcnn::cuda
