// Finds the pixels of the sampler's front, (i, j) with j + slope * i = t, in tensors that include their
// own zero border.
//
// The pixels of a front lie at a constant distance from one another in memory. The direct convolution's
// micro-kernel therefore runs on them with another pixel stride, and gives the same bits.
#pragma once
#include "../ops.h"
#include "simd.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// The pixels of one front: `count` rows from row first_ on, in every image. Empty for a t outside the
// image.
class Front {
 public:
  Front(const FrontShape& shape, int h, int w, int t)
      : pad_(shape.pad), slope_(shape.slope), h_(h), w_(w), t_(t) {
    const int64_t last = int64_t{w} - 1 + int64_t{slope_} * (h - 1);
    if (t < 0 || t > last) return;
    first_ = t < w ? 0 : static_cast<int>(divide_up(int64_t{t} - w + 1, slope_));
    count_ = smaller(h - 1, t / slope_) + 1 - first_;
  }

  int count() const { return larger(0, count_); }
  int row(int index) const { return first_ + index; }
  int column(int index) const { return t_ - slope_ * row(index); }
  int pitch() const { return w_ + 2 * pad_; }
  int stride() const { return pitch() - slope_; }  // in pixels, from one pixel of the front to the next
  int64_t pixel(int64_t image, int index) const { return (image * h_ + row(index)) * w_ + column(index); }
  int64_t padded_pixel(int64_t image, int index) const {
    return (image * (pad_ + h_) + pad_ + row(index)) * pitch() + pad_ + column(index);
  }

 private:
  int pad_, slope_, h_, w_, t_;
  int first_ = 0, count_ = 0;
};

// A sum beyond the largest int32 wraps to a negative number, which has no front.
inline int32_t add_fronts(int32_t position, int32_t fronts) {
  return static_cast<int32_t>(static_cast<uint32_t>(position) + static_cast<uint32_t>(fronts));
}

// Splits `total` tasks into `shares` parts, and returns the first task of part `index`.
inline int64_t share_begin(int64_t total, int64_t index, int64_t shares) { return total * index / shares; }

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
