// Masked convolution by our own kernels: the shapes they agree on and what the dispatcher calls.
#pragma once
#include "divider.h"
#include "launch.h"
#include "ptx.h"

namespace pixelcnn::cuda {

// Taps of the packed filter, dead ones of the centre row included.
constexpr int filter_slots(const MaskedConv2dShape& shape) {
  return (shape.kernel_size / 2 + 1) * shape.kernel_size;
}

// Taps that have a weight that is not masked; they are the first slots. The centre is the last one.
constexpr int live_taps(const MaskedConv2dShape& shape) {
  const int radius = shape.kernel_size / 2;
  const bool centre = shape.mask == MaskType::kB || shape.groups > 1;
  return radius * shape.kernel_size + radius + (centre ? 1 : 0);
}

// The first channel of a group: group(c) = floor(c * groups / channels).
__host__ __device__ constexpr int first_channel(int group, int groups, int channels) {
  return static_cast<int>((int64_t{group} * channels + groups - 1) / groups);
}

constexpr int64_t blocks_of(int64_t count, int64_t block) { return (count + block - 1) / block; }

// Whether vectors of 16 bytes never cross from one pixel or tap to the next.
constexpr bool has_vectors(int channels, Precision precision) {
  return channels * element_bytes(precision) % 16 == 0;
}

// The live taps of all channels as one flat index, taps in row-major order, channels innermost. Channels are
// those of the tensor that the taps are laid over.
class TapIndex {
 public:
  struct Position {
    int dy, dx, channel;
  };

  TapIndex(const MaskedConv2dShape& shape, Direction direction)
      : channels_(direction == Direction::kForward ? shape.c : shape.k),
        count_(live_taps(shape) * channels_),
        radius_(shape.kernel_size / 2),
        sign_(direction == Direction::kForward ? 1 : -1),
        vectors_(has_vectors(channels_, shape.precision)),
        by_channels_(channels_),
        by_kernel_size_(shape.kernel_size) {}

  __host__ __device__ int count() const { return count_; }
  __host__ __device__ int channels() const { return channels_; }
  __device__ bool vectors() const { return vectors_; }
  // The tap; index becomes the channel.
  __device__ int divide(int& index) const { return by_channels_.divide(index); }
  __device__ Position at(int index) const {
    int column = by_channels_.divide(index);
    const int row = by_kernel_size_.divide(column);
    return {sign_ * (row - radius_), sign_ * (column - radius_), index};
  }

 private:
  int channels_, count_, radius_, sign_;
  bool vectors_;
  Divider by_channels_, by_kernel_size_;
};

// A pixel as a convolution sees it; outside the image no tap reaches anything.
struct Place {
  int64_t pixel;  // in memory
  int row, column;
};

// The pixels of a batch of dense images, image by image.
class ImagePixels {
 public:
  explicit ImagePixels(const MaskedConv2dShape& shape)
      : count_(static_cast<int>(int64_t{shape.n} * shape.h * shape.w)),
        h_(shape.h),
        w_(shape.w),
        by_h_(shape.h),
        by_w_(shape.w) {}

  __device__ void begin() {}
  __host__ __device__ int count() const { return count_; }
  __device__ int pitch() const { return w_; }
  __device__ static Place nowhere() { return {0, INT32_MIN / 2, 0}; }
  __device__ Place at(int64_t index) const {
    if (index >= count_) return nowhere();
    int column = static_cast<int>(index), row = by_w_.divide(column);
    static_cast<void>(by_h_.divide(row));
    return {index, row, column};
  }
  __device__ bool reaches(const Place& place, int dy, int dx) const {
    return static_cast<unsigned>(place.row + dy) < static_cast<unsigned>(h_) &&
           static_cast<unsigned>(place.column + dx) < static_cast<unsigned>(w_);
  }

 private:
  int count_, h_, w_;
  Divider by_h_, by_w_;
};

// One element from global to shared memory; 0 unless valid.
template <class T>
__device__ inline void copy_element(T* to, const T* from, bool valid) {
  if constexpr (sizeof(T) == 4)
    cp_async<4>(to, from, valid);
  else
    *to = valid ? *from : T{};
}

// 16 bytes to shared memory: neighbours in global memory, zeros behind the first `count`. `vectors`: they are
// aligned, and there are all or none.
template <class T>
__device__ inline void copy_neighbours(T* to, const T* from, int count, bool vectors) {
  if (vectors) return cp_async<16>(to, from, count > 0);
#pragma unroll 1
  for (int e = 0; e < int{16 / sizeof(T)}; ++e) copy_element(to + e, from + e, e < count);
}

// 16 bytes to shared memory: what one pixel sees at `index` of its taps and behind. tap = taps.at(index).
template <class T, class Pixels>
__device__ inline void copy_taps(T* to, const T* x, const TapIndex& taps, const Pixels& pixels,
                                 const Place& place, int index, const TapIndex::Position& tap) {
  const auto offset = [&](const TapIndex::Position& at) {
    return (place.pixel + at.dy * pixels.pitch() + at.dx) * taps.channels() + at.channel;
  };
  if (taps.vectors()) {
    const bool valid = index < taps.count() && pixels.reaches(place, tap.dy, tap.dx);
    return cp_async<16>(to, x + offset(tap), valid);
  }
#pragma unroll 1
  for (int e = 0; e < int{16 / sizeof(T)}; ++e) {
    const TapIndex::Position at = taps.at(index + e);
    const bool valid = index + e < taps.count() && pixels.reaches(place, at.dy, at.dx);
    copy_element(to + e, x + offset(at), valid);
  }
}

// Our kernels. `forward` and `backward_input` take no workspace.
void forward(const MaskedConv2dForward& op, const Launch& launch);
void backward_input(const MaskedConv2dBackwardInput& op, const Launch& launch);
int64_t backward_weight_workspace(const MaskedConv2dShape& shape, int multiprocessors);
void backward_weight(const MaskedConv2dBackwardWeight& op, const Launch& launch);

// The parts that a plan of cuDNN leaves to us.
// grad_weight from `parts` filters [K][slots][C], added in order: float32, or in the element type if rounded.
void unpack_gradient(const MaskedConv2dBackwardWeight& op, const void* packed, int parts, bool rounded,
                     const Launch& launch);
// grad_bias, by way of bias_gradient_workspace bytes.
int64_t bias_gradient_workspace(const MaskedConv2dShape& shape, int multiprocessors);
void bias_gradient(const MaskedConv2dBackwardWeight& op, float* workspace, const Launch& launch);

}  // namespace pixelcnn::cuda
