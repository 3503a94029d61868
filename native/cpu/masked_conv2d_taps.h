// Lays the live taps of a masked filter over rows of pixels, and copies images into the zero-padded strips
// that they run on.
#pragma once
#include <cstring>

#include "masked_conv2d_direct.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// The taps of one panel in row-major order, for rows that are `pitch` pixels apart. `sign` is +1 forward
// and -1 backward.
class TapList {
 public:
  TapList(const Window& window, int inputs, const Panel& panel, int64_t pitch, int sign)
      : columns_(window.columns), left_(window.left), inputs_(inputs), width_(panel.width()), sign_(sign) {
    // With few input channels a whole row of taps runs as one tap, because its channels are contiguous in
    // memory.
    merged_ = sign > 0 && inputs < kFewChannels && columns_ > 1;
    const int last_channels = panel.centre_end - panel.centre_begin;
    for (int begin = 0, last = window.taps() - 1; begin <= last; begin += columns_) {
      const int64_t row = (begin / columns_ - window.above) * pitch;
      const int end = smaller(last, begin + columns_);
      const bool holds_last = last < begin + columns_;
      if (merged_) {
        add((row - left_) * inputs, (end - begin) * inputs + (holds_last ? last_channels : 0));
        continue;
      }
      for (int tap = begin; tap < end; ++tap) add(sign * (row + tap - begin - left_) * inputs, inputs);
      if (holds_last && last_channels > 0)
        add(sign * (row + last - begin - left_) * inputs + panel.centre_begin, last_channels);
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
  void run(Block block, const float* x, ptrdiff_t stride, const float* weight, int rows,
           const BlockOutput& out) const {
    const int first = rows * (merged_ ? 1 : columns_);
    block(x, stride, taps_ + first, count_ - first, weight + int64_t{rows} * columns_ * inputs_ * width_,
          out);
  }

 private:
  static constexpr int kFewChannels = 8;
  void add(int64_t offset, int channels) { taps_[count_++] = {offset, channels, 0}; }

  int columns_, left_, inputs_, width_, sign_;
  bool merged_;
  int count_ = 0;
  Tap taps_[kMaxTaps];
};

// Copies rows [begin, begin + rows) of an image (h, w, c) and puts `before` and `after` zero pixels beside
// them. Rows outside the image are not written, because the taps that would read them are left out.
inline void copy_strip(const float* image, int h, int w, int c, int begin, int rows, int before, int after,
                       float* strip) {
  const int64_t left = int64_t{before} * c, row = int64_t{w} * c, right = int64_t{after} * c;
  for (int r = 0; r < rows; ++r, strip += left + row + right) {
    const int y = begin + r;
    if (y < 0 || y >= h) continue;
    std::memset(strip, 0, left * sizeof(float));
    std::memcpy(strip + left, image + y * row, row * sizeof(float));
    std::memset(strip + left + row, 0, right * sizeof(float));
  }
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
