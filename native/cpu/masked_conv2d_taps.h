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
  TapList(int kernel_size, int inputs, const Panel& panel, int64_t pitch, int sign)
      : kernel_size_(kernel_size),
        radius_(kernel_size / 2),
        inputs_(inputs),
        width_(panel.width()),
        sign_(sign) {
    // With few input channels a whole row of taps runs as one tap, because its channels are contiguous in
    // memory.
    merged_ = sign > 0 && inputs < kFewChannels && radius_ > 0;
    for (int dy = -radius_; dy < 0; ++dy) {
      if (merged_) {
        add((dy * pitch - radius_) * inputs, kernel_size * inputs);
      } else {
        for (int dx = -radius_; dx <= radius_; ++dx) add(sign * (dy * pitch + dx) * inputs, inputs);
      }
    }
    const int centre = panel.centre_end - panel.centre_begin;
    if (merged_) {
      add(-int64_t{radius_} * inputs, radius_ * inputs + centre);
    } else {
      for (int dx = -radius_; dx < 0; ++dx) add(sign * dx * inputs, inputs);
      if (centre > 0) add(panel.centre_begin, centre);
    }
  }

  // For the pixels of columns [x, x + pixels), makes each tap leave out the pixels at which it lies
  // outside the image.
  void crop(int x, int pixels, int image_width) {
    if (merged_) return;
    for (int tap = 0; tap < count_; ++tap) {
      const int dx = sign_ * (tap % kernel_size_ - radius_);
      const int left = smaller(3, -(x + dx)), right = smaller(3, x + pixels + dx - image_width);
      taps_[tap].skip = left > 0 ? left : right > 0 ? -right : 0;
    }
  }

  // Runs the block without the taps of the first `rows` filter rows, which lie outside the image.
  void run(Block block, const float* x, ptrdiff_t stride, const float* weight, int rows,
           const BlockOutput& out) const {
    const int first = rows * (merged_ ? 1 : kernel_size_);
    block(x, stride, taps_ + first, count_ - first, weight + int64_t{rows} * kernel_size_ * inputs_ * width_,
          out);
  }

 private:
  static constexpr int kFewChannels = 8;
  void add(int64_t offset, int channels) { taps_[count_++] = {offset, channels, 0}; }

  int kernel_size_, radius_, inputs_, width_, sign_;
  bool merged_;
  int count_ = 0;
  Tap taps_[kMaxTaps];
};

// Copies rows [begin, begin + rows) of an image (h, w, c) and puts `radius` zero pixels on either side.
// Rows outside the image are not written, because the taps that would read them are left out.
inline void copy_strip(const float* image, int h, int w, int c, int begin, int rows, int radius,
                       float* strip) {
  const int64_t border = int64_t{radius} * c, row = int64_t{w} * c;
  for (int r = 0; r < rows; ++r, strip += row + 2 * border) {
    const int y = begin + r;
    if (y < 0 || y >= h) continue;
    std::memset(strip, 0, border * sizeof(float));
    std::memcpy(strip + border, image + y * row, row * sizeof(float));
    std::memset(strip + border + row, 0, border * sizeof(float));
  }
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
