// Finds the pixels of a region of the sampler, a front or a row, in tensors that include their own zero
// border.
//
// The pixels of a region lie in series, at a constant distance from one another in memory. The direct
// convolution's micro-kernel therefore runs on them with another pixel stride, and gives the same bits.
#pragma once
#include "../ops.h"
#include "simd.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// The pixels of a front or a row at position t in n images. Either the pixels of an image are a series, or
// the same pixel of all images is one: what makes fewer register blocks, because the weights are read once
// for each. Empty for a t that has no pixels in the image.
class RegionPixels {
 public:
  RegionPixels(const Region& region, int n, int h, int w, int t, int first_image = 0)
      : pad_(region.pad),
        h_(h),
        w_(w),
        images_(n),
        first_image_(first_image),
        is_row_(region.pixels == Region::Pixels::kRow) {
    const int slope = region.slope;
    const int64_t last = is_row_ ? int64_t{slope} * (h - 1) : int64_t{w} - 1 + int64_t{slope} * (h - 1);
    if (t < 0 || t > last || (is_row_ && t % slope != 0)) return;
    if (is_row_) {
      first_row_ = t / slope;
      per_image_ = w;
    } else {
      first_row_ = t < w ? 0 : static_cast<int>(divide_up(int64_t{t} - w + 1, slope));
      first_column_ = t - slope * first_row_;
      column_step_ = -slope;
      per_image_ = smaller(h - 1, t / slope) + 1 - first_row_;
    }
    const auto blocks = [](int64_t series, int length) { return series * divide_up(length, kBlockPixels); };
    across_images_ = blocks(per_image_, images_) < blocks(images_, per_image_);
  }

  bool empty() const { return per_image_ <= 0; }
  int64_t count() const { return empty() ? 0 : int64_t{images_} * per_image_; }
  int series() const { return empty() ? 0 : across_images_ ? per_image_ : images_; }
  int length() const { return empty() ? 0 : across_images_ ? images_ : per_image_; }
  int pitch() const { return w_ + 2 * pad_; }
  // In pixels, from one pixel of a series to the next.
  int64_t stride() const {
    if (across_images_) return int64_t{pad_ + h_} * pitch();
    return is_row_ ? 1 : pitch() + column_step_;
  }
  int64_t pixel(int64_t series, int index) const {
    const Place at = place(series, index);
    return (at.image * h_ + at.row) * w_ + at.column;
  }
  int64_t padded_pixel(int64_t series, int index) const {
    const Place at = place(series, index);
    return (at.image * (pad_ + h_) + pad_ + at.row) * pitch() + pad_ + at.column;
  }

 private:
  struct Place {
    int64_t image;
    int row, column;
  };
  Place place(int64_t series, int index) const {
    const int64_t image = first_image_ + (across_images_ ? index : series);
    const int i = across_images_ ? static_cast<int>(series) : index;
    return {image, is_row_ ? first_row_ : first_row_ + i, first_column_ + column_step_ * i};
  }

  int pad_, h_, w_, images_, first_image_;
  bool is_row_, across_images_ = false;
  int first_row_ = 0, first_column_ = 0, column_step_ = 1, per_image_ = 0;
};

// A sum beyond the largest int32 wraps to a negative number, which has no pixels.
inline int32_t add_fronts(int32_t position, int32_t fronts) {
  return static_cast<int32_t>(static_cast<uint32_t>(position) + static_cast<uint32_t>(fronts));
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
