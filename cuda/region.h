// Finds the pixels of a region: those of whole images, or the sampler's at t = position + ahead, in tensors
// that include their own zero border: the front, (i, j) with j + slope * i = t, and the row t / slope.
#pragma once
#include "divider.h"
#include "masked_conv2d.h"

namespace pixelcnn::cuda {

// All pixels of images without a border, for kernels that have no window (ImagePixels is for those that do).
class WholeImages {
 public:
  WholeImages(int n, int h, int w) : count_(n * h * w), by_size_(h * w) {}

  int64_t most() const { return count_; }
  __device__ void begin() {}
  __device__ int count() const { return count_; }
  __device__ int64_t pixel(int index) const { return index; }
  __device__ int image(int index) const { return by_size_.quotient(index); }
  __device__ int64_t dense(int index) const { return index; }

 private:
  int count_;
  Divider by_size_;
};

// Places pixels in images that include their border, and reads the t of a region.
class BorderedImages {
 public:
  // The pixels of a front are not neighbours in memory, so their taps share few cache lines. Those of a row
  // are, but a row is computed only at one front in W.
  static constexpr Cache kCache = Cache::kL2;

  BorderedImages(const Region& region, int n, int h, int w, const int32_t* position)
      : position_(position),
        ahead_(region.ahead),
        n_(n),
        h_(h),
        w_(w),
        pad_(region.pad),
        slope_(region.slope) {}

  int64_t all() const { return int64_t{n_} * (pad_ + h_) * pitch(); }  // pixels in memory, with the border
  __host__ __device__ int pitch() const { return w_ + 2 * pad_; }

 protected:
  __device__ int now() const {
    // A sum beyond the largest int wraps to a negative number, which has no pixels.
    return static_cast<int>(static_cast<unsigned>(*position_) + static_cast<unsigned>(ahead_));
  }
  __device__ int64_t place(int image, int row, int column) const {
    return (int64_t{image} * (pad_ + h_) + pad_ + row) * pitch() + pad_ + column;
  }

  const int32_t* position_;
  int ahead_, n_, h_, w_, pad_, slope_;
};

// The pixels of the front, image by image. There are none for a t outside the images.
class FrontPixels : public BorderedImages {
 public:
  using BorderedImages::BorderedImages;

  // The number of pixels of the longest front.
  int64_t most() const { return int64_t{n_} * (blocks_of(w_, slope_) < h_ ? blocks_of(w_, slope_) : h_); }

  __device__ void begin() {
    t_ = now();
    first_row_ = rows_ = 0;
    if (t_ < 0 || t_ > w_ - 1 + slope_ * (h_ - 1)) return;
    first_row_ = t_ < w_ ? 0 : (t_ - w_) / slope_ + 1;
    const int last_row = t_ / slope_ < h_ ? t_ / slope_ : h_ - 1;
    rows_ = last_row < first_row_ ? 0 : last_row + 1 - first_row_;
  }
  __device__ int count() const { return n_ * rows_; }
  __device__ int64_t pixel(int64_t index) const {
    const int image = static_cast<int>(index) / rows_;
    const int row = first_row_ + static_cast<int>(index) - image * rows_, column = t_ - slope_ * row;
    return place(image, row, column);
  }
  // Every tap reaches the image or its border, so no bounds exclude it.
  __device__ Place at(int64_t index) const {
    return index < count() ? Place{pixel(index), 0} : Place::nowhere();
  }

  __device__ int image(int index) const { return index / rows_; }
  // The place of pixel `index` in tensors without a border.
  __device__ int64_t dense(int index) const {
    const int image = index / rows_, row = first_row_ + index - image * rows_;
    return (int64_t{image} * h_ + row) * w_ + t_ - slope_ * row;
  }

 private:
  int t_ = 0, first_row_ = 0, rows_ = 0;
};

// The pixels of one row of every image. There are none if slope does not divide t, or for a t outside the
// images.
class RowPixels : public BorderedImages {
 public:
  using BorderedImages::BorderedImages;

  int64_t most() const { return int64_t{n_} * w_; }

  __device__ void begin() {
    const int t = now();
    row_ = t / slope_;
    exists_ = t >= 0 && row_ < h_ && row_ * slope_ == t;
  }
  __device__ int count() const { return exists_ ? n_ * w_ : 0; }
  __device__ int64_t pixel(int64_t index) const {
    const int image = static_cast<int>(index) / w_;
    return place(image, row_, static_cast<int>(index) - image * w_);
  }
  __device__ Place at(int64_t index) const {
    return index < count() ? Place{pixel(index), 0} : Place::nowhere();
  }
  __device__ int image(int index) const { return index / w_; }
  __device__ int64_t dense(int index) const {
    const int image = index / w_;
    return (int64_t{image} * h_ + row_) * w_ + index - image * w_;
  }

 private:
  int row_ = 0;
  bool exists_ = false;
};

// Calls body(pixels) with the class of the region.
template <class Body>
void with_pixels(const Region& region, int n, int h, int w, const int32_t* position, const Body& body) {
  switch (region.pixels) {
    case Region::Pixels::kImage:
      return body(WholeImages(n, h, w));
    case Region::Pixels::kFront:
      return body(FrontPixels(region, n, h, w, position));
    case Region::Pixels::kRow:
      return body(RowPixels(region, n, h, w, position));
  }
}

}  // namespace pixelcnn::cuda
