// Launches kernels that walk over channels of pixels, with neighbouring channels of one pixel per thread, and
// finds the rows of a condition that belong to pixels.
#pragma once
#include "divider.h"
#include "grid.h"
#include "tile.h"

namespace pixelcnn::cuda {

struct ChannelRange {
  int first, end;
};

// Returns the channels of a group of a region, which may be all groups.
inline ChannelRange channels_of(int group, int channels, int groups) {
  if (group == Region::kAllGroups) return {0, channels};
  return {group_begin(group, channels, groups), group_begin(group + 1, channels, groups)};
}

// Calls body.template operator()<neighbours>() with `most` if that many channels can always be moved
// together, else with 1. Vectors can be moved, because an op's tensors begin at multiples of 256 bytes.
template <int most, class Body>
void with_neighbours(int channels, ChannelRange range, const Body& body) {
  if ((channels | range.first | range.end) % most == 0)
    body.template operator()<most>();
  else
    body.template operator()<1>();
}

// Shares out a range of channels of every pixel: each thread takes neighbours of one pixel. A block of
// kFlatThreads has as many whole pixels as it has threads for, or a part of one that has more channels.
template <int neighbours>
class PixelChannels {
 public:
  explicit PixelChannels(ChannelRange range)
      : first_(range.first),
        of_pixel_((range.end - range.first) / neighbours),
        pixels_(of_pixel_ < kFlatThreads ? kFlatThreads / of_pixel_ : 1),
        parts_(static_cast<int>(blocks_of(of_pixel_, kFlatThreads))),
        by_pixel_(of_pixel_),
        by_parts_(parts_) {}

  unsigned blocks(int64_t pixels) const { return static_cast<unsigned>(blocks_of(pixels, pixels_) * parts_); }

  // Calls body(index of a pixel, first channel) for this thread, unless `count` pixels have nothing for it.
  template <class Body>
  __device__ void for_own(int count, const Body& body) const {
    int part = static_cast<int>(blockIdx.x);
    const int64_t first_pixel = int64_t{by_parts_.divide(part)} * pixels_;
    int place = part * kFlatThreads + static_cast<int>(threadIdx.x);
    if (place >= pixels_ * of_pixel_) return;
    const int64_t index = first_pixel + by_pixel_.divide(place);
    if (index < count) body(static_cast<int>(index), first_ + neighbours * place);
  }

 private:
  int first_;
  int of_pixel_;  // groups of neighbours
  int pixels_;    // of a block
  int parts_;     // blocks of a pixel
  Divider by_pixel_, by_parts_;
};

// A condition that is added to activations. It has one row for each image or one for each pixel, and no
// border.
template <class T>
struct Condition {
  const T* values;
  bool per_pixel;

  template <class Op>
  explicit Condition(const Op& op)
      : values(static_cast<const T*>(op.condition)), per_pixel(op.per_pixel != 0) {}

  template <class Pixels>
  __device__ const T* row(const Pixels& pixels, int index, int channels) const {
    return values + (per_pixel ? pixels.dense(index) : pixels.image(index)) * int64_t{channels};
  }
};

}  // namespace pixelcnn::cuda
