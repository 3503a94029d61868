// Adds a condition, which has one row for each image or one for each pixel, to activations.
#include "pixel_channels.h"
#include "region.h"

namespace pixelcnn::cuda {

namespace {

// Sums are computed in float32 and rounded once. ReLU keeps NaN.
template <class T, int neighbours, class Pixels>
__global__ void __launch_bounds__(kFlatThreads)
    add_condition_kernel(const T* x, Condition<T> condition, T* y, Pixels pixels,
                         PixelChannels<neighbours> pixel_channels, int c, bool relu) {
  using Group = Neighbours<T, neighbours>;
  pixels.begin();
  pixel_channels.for_own(pixels.count(), [&](int index, int channel) {
    const int64_t at = pixels.pixel(index) * c + channel;
    Group sums = *reinterpret_cast<const Group*>(x + at);
    const Group added = *reinterpret_cast<const Group*>(condition.row(pixels, index, c) + channel);
#pragma unroll
    for (int i = 0; i < neighbours; ++i) {
      const float sum = to_float(sums.at[i]) + to_float(added.at[i]);
      sums.at[i] = from_float<T>(relu && sum < 0 ? 0 : sum);
    }
    *reinterpret_cast<Group*>(y + at) = sums;
  });
}

}  // namespace

int64_t workspace(const AddCondition&, const Gpu&) { return 0; }

void run(const AddCondition& op, const Launch& launch) {
  const ChannelRange channels = channels_of(op.region.group, op.c, op.channel_groups);
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    with_pixels(op.region, op.n, op.h, op.w, op.position, [&]<class Pixels>(const Pixels& pixels) {
      with_neighbours<16 / sizeof(T)>(op.c, channels, [&]<int neighbours>() {
        const PixelChannels<neighbours> pixel_channels(channels);
        LAUNCH((add_condition_kernel<T, neighbours, Pixels>), pixel_channels.blocks(pixels.most()),
               kFlatThreads, 0, launch.stream)
        (static_cast<const T*>(op.x), Condition<T>(op), static_cast<T*>(op.y), pixels, pixel_channels, op.c,
         op.relu != 0);
      });
    });
  });
}

}  // namespace pixelcnn::cuda
