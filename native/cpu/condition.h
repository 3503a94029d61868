// Splits activations into ranges for the threads, and finds the part of a condition that is added to each. A
// condition has one row for each image or one for each pixel.
//
// Ranges lie without gaps in memory. The row of an image is the same for all of its pixels, so it repeats in
// a range of several pixels.
#pragma once
#include <cstring>

#include "element.h"
#include "kernels.h"
#include "region.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// What is added to a range: the first `period` values again and again. The period is a multiple of the values
// that a kernel adds at a time, or at least as long as the range.
struct Condition {
  const Element* values;  // null: nothing is added
  int64_t period;
};

// The row of an image, repeated until its length is a multiple of the values that a kernel adds at a time. If
// that would be too long, the row serves one pixel at a time.
class RepeatedRow {
 public:
  RepeatedRow(const Element* row, int64_t length, int multiple) : condition_{row, length} {
    int64_t period = length;
    while (period % multiple != 0) period += length;
    if (period == length) return;
    serves_many_ = period <= kMostValues;
    if (!serves_many_) return;
    for (int64_t at = 0; at < period; at += length) std::memcpy(copy_ + at, row, sizeof(Element) * length);
    condition_ = {copy_, period};
  }
  RepeatedRow(const RepeatedRow&) = delete;
  RepeatedRow& operator=(const RepeatedRow&) = delete;

  const Condition& condition() const { return condition_; }
  bool serves_many_pixels() const { return serves_many_; }

 private:
  static constexpr int64_t kMostValues = 2048;
  Condition condition_;
  bool serves_many_ = true;
  Element copy_[kMostValues];
};

// Calls body(first value, values, condition) for ranges of whole images with about `chunk` values. A kernel
// adds `multiple` values at a time. `condition` may be null.
template <class Body>
void for_each_range(Context& context, int64_t images, int64_t pixels, int64_t channels, const void* condition,
                    bool per_pixel, int multiple, int64_t chunk, const Body& body) {
  const auto* values = static_cast<const Element*>(condition);
  if (values == nullptr || per_pixel) {
    const int64_t all = images * pixels * channels;
    context.pool.run(divide_up(all, chunk), [&](int64_t task, int) {
      const int64_t begin = task * chunk;
      body(begin, smaller(chunk, all - begin), Condition{values ? values + begin : nullptr, chunk});
    });
    return;
  }
  const int64_t pixels_per_task = divide_up(chunk, channels), tasks = divide_up(pixels, pixels_per_task);
  context.pool.run(images * tasks, [&](int64_t task, int) {
    const int64_t image = task / tasks, first = task % tasks * pixels_per_task;
    const int64_t end = smaller(pixels, first + pixels_per_task);
    const RepeatedRow row(values + image * channels, channels, multiple);
    const int64_t step = row.serves_many_pixels() ? end - first : 1;
    for (int64_t pixel = first; pixel < end; pixel += step)
      body((image * pixels + pixel) * channels, step * channels, row.condition());
  });
}

// Calls body(first channel in memory, first channel of the condition, channels) for every pixel of op.region.
// The condition has no border.
template <class Op, class Body>
void for_each_region_pixel(const Op& op, Context& context, int64_t chunk, const Body& body) {
  const RegionPixels region(op.region, op.n, op.h, op.w, add_fronts(*op.position, op.region.ahead));
  const bool all = op.region.group == Region::kAllGroups;
  const int first = all ? 0 : group_begin(op.region.group, op.c, op.channel_groups);
  const int end = all ? op.c : group_begin(op.region.group + 1, op.c, op.channel_groups);
  const int64_t pixels = region.count(), pixels_per_task = divide_up(chunk, end - first);
  const int64_t pixels_per_row = op.per_pixel ? 1 : int64_t{op.h} * op.w;
  context.pool.run(divide_up(pixels, pixels_per_task), [&](int64_t task, int) {
    for (int64_t i = task * pixels_per_task; i < smaller(pixels, (task + 1) * pixels_per_task); ++i) {
      const int64_t series = i / region.length();
      const int index = static_cast<int>(i % region.length());
      const int64_t row = region.pixel(series, index) / pixels_per_row;
      body(region.padded_pixel(series, index) * op.c + first, row * op.c + first, end - first);
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
