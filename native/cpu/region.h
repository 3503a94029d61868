// Finds the pixels of a region of the sampler, a front or a row, in tensors that include their own zero
// border.
//
// The pixels of a region lie at a constant distance from one another in memory. The direct convolution's
// micro-kernel therefore runs on them with another pixel stride, and gives the same bits.
#pragma once
#include "../ops.h"
#include "simd.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// The pixels of a front or a row at position t: `count` of them in every image. Empty for a t that has no
// pixels in the image.
class RegionPixels {
 public:
  RegionPixels(const Region& region, int h, int w, int t)
      : pad_(region.pad), h_(h), w_(w), is_row_(region.pixels == Region::Pixels::kRow) {
    const int slope = region.slope;
    const int64_t last = is_row_ ? int64_t{slope} * (h - 1) : int64_t{w} - 1 + int64_t{slope} * (h - 1);
    if (t < 0 || t > last || (is_row_ && t % slope != 0)) return;
    if (is_row_) {
      first_row_ = t / slope;
      count_ = w;
    } else {
      first_row_ = t < w ? 0 : static_cast<int>(divide_up(int64_t{t} - w + 1, slope));
      first_column_ = t - slope * first_row_;
      column_step_ = -slope;
      count_ = smaller(h - 1, t / slope) + 1 - first_row_;
    }
  }

  int count() const { return larger(0, count_); }
  int row(int index) const { return is_row_ ? first_row_ : first_row_ + index; }
  int column(int index) const { return first_column_ + column_step_ * index; }
  int pitch() const { return w_ + 2 * pad_; }
  // In pixels, from one pixel of the region to the next.
  int stride() const { return is_row_ ? 1 : pitch() + column_step_; }
  int64_t pixel(int64_t image, int index) const { return (image * h_ + row(index)) * w_ + column(index); }
  int64_t padded_pixel(int64_t image, int index) const {
    return (image * (pad_ + h_) + pad_ + row(index)) * pitch() + pad_ + column(index);
  }

 private:
  int pad_, h_, w_;
  bool is_row_;
  int first_row_ = 0, first_column_ = 0, column_step_ = 1, count_ = 0;
};

// A sum beyond the largest int32 wraps to a negative number, which has no pixels.
inline int32_t add_fronts(int32_t position, int32_t fronts) {
  return static_cast<int32_t>(static_cast<uint32_t>(position) + static_cast<uint32_t>(fronts));
}

// Splits `total` tasks into `shares` parts, and returns the first task of part `index`.
inline int64_t share_begin(int64_t total, int64_t index, int64_t shares) { return total * index / shares; }

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
