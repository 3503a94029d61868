// Lays the live taps of a masked filter over rows of pixels, and copies images into the zero-padded strips
// that they run on.
#pragma once
#include <cstring>

#include "masked_conv2d_direct.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// The taps of one panel in row-major order, for rows that are `pitch` pixels apart.
class TapList {
 public:
  TapList(const PanelLayout& layout, const Panel& panel, int64_t pitch)
      : columns_(layout.window().columns),
        left_(layout.window().left),
        sign_(layout.sign()),
        merged_(layout.merges_rows()),
        row_weights_(layout.packed_row() * panel.width()) {
    const Window& window = layout.window();
    const int inputs = layout.inputs(), last_channels = panel.centre_end - panel.centre_begin;
    for (int begin = 0, last = window.taps() - 1; begin <= last; begin += columns_) {
      const int64_t row = (begin / columns_ - window.above) * pitch;
      const int end = smaller(last, begin + columns_);
      const bool holds_last = last < begin + columns_;
      if (merged_) {
        add((row - left_) * inputs, (end - begin) * inputs + (holds_last ? last_channels : 0));
        continue;
      }
      for (int tap = begin; tap < end; ++tap) add(sign_ * (row + tap - begin - left_) * inputs, inputs);
      if (holds_last && last_channels > 0)
        add(sign_ * (row + last - begin - left_) * inputs + panel.centre_begin, last_channels);
    }
  }

  // For the pixels of columns [x, x + pixels), makes each tap leave out the pixels at which it lies
  // outside the image.
  void crop(int x, int pixels, int image_width) {
    if (merged_) return;
    for (int tap = 0; tap < count_; ++tap) {
      const int dx = sign_ * (tap % columns_ - left_);
      const int left = smaller(3, -(x + dx)), right = smaller(3, x + pixels + dx - image_width);
      taps_[tap].skip = left > 0 ? left : right > 0 ? -right : 0;
    }
  }

  // Runs the block without the taps of the first `rows` filter rows, which lie outside the image.
  template <class Out>
  void run(Block<Element, Out> block, const Element* x, ptrdiff_t stride, const Factor<Element>* weight,
           int rows, const BlockOutput<Out>& out) const {
    const int first = rows * (merged_ ? 1 : columns_);
    block(x, stride, taps_ + first, count_ - first, weight + rows * row_weights_, out);
  }

 private:
  void add(int64_t offset, int channels) { taps_[count_++] = {offset, channels, 0}; }

  int columns_, left_, sign_;
  bool merged_;
  int64_t row_weights_;
  int count_ = 0;
  Tap taps_[kMaxTaps];
};

// Returns the rows of a strip, a part of an image that is copied with its zero padding. They are so few that
// a strip stays in the L2 cache and a small batch still occupies several threads.
inline int strip_rows(const MaskedConv2dShape& shape) {
  const int64_t rows = int64_t{shape.n} * shape.h / 32;
  return static_cast<int>(smaller<int64_t>(shape.h, larger<int64_t>(4, smaller<int64_t>(14, rows))));
}

// A window of one column needs no padding beside the image, and runs on the image itself.
inline bool uses_strips(const Window& window) { return window.columns > 1; }

// Returns the distance in pixels between the rows of a strip.
inline int strip_pitch(const MaskedConv2dShape& shape) { return shape.w + shape.window.columns - 1; }

inline int64_t strip_values(const MaskedConv2dShape& shape, int rows, int channels) {
  if (!uses_strips(shape.window)) return 0;
  return round_up(int64_t{rows + shape.window.above} * strip_pitch(shape) * channels, 32);
}

// Fills rows [begin, begin + rows) of a strip, which has h rows in the image. copy(row, to) writes the
// `count` values of a row, and `before` and `after` zeros stand beside them. Rows outside the image are not
// written, because the taps that would read them are left out.
template <class T, class Copy>
inline void fill_strip(int h, int begin, int rows, int64_t before, int64_t count, int64_t after, T* strip,
                       const Copy& copy) {
  for (int row = begin; row < begin + rows; ++row, strip += before + count + after) {
    if (row < 0 || row >= h) continue;
    std::memset(strip, 0, before * sizeof(T));
    copy(row, strip + before);
    std::memset(strip + before + count, 0, after * sizeof(T));
  }
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
