// Computes a masked convolution at the pixels of the sampler's front or row, for the output channels of one
// group or of all groups.
#include "masked_conv2d.h"
#include "masked_conv2d_taps.h"
#include "region.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

void convolve_region(const MaskedConv2d& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const RegionPixels region(op.region, shape.h, shape.w, add_fronts(*op.position, op.region.ahead));
  if (region.count() == 0) return;
  const PanelLayout layout(shape, Direction::kForward);
  const bool all = op.region.group == Region::kAllGroups;
  const int64_t first_panel = all ? 0 : layout.first_panel(op.region.group);
  const int64_t panels = (all ? layout.panels() : layout.first_panel(op.region.group + 1)) - first_panel;
  const float* add = static_cast<const float*>(op.add);

  const auto run_panel = [&](const Panel& panel, const TapList& taps, int64_t image) {
    for_each_run(region.count(), kBlockPixels, [&](int begin, int count) {
      const int64_t pixel = region.padded_pixel(image, begin), at = pixel * shape.k + panel.first;
      const BlockOutput out = {static_cast<float*>(op.y) + at,
                               int64_t{region.stride()} * shape.k,
                               op.bias ? op.bias + panel.first : nullptr,
                               add ? add + at : nullptr,
                               nullptr,
                               panel.channels,
                               op.relu != 0};
      taps.run(ConvolveBlocks::get(count, panel.vectors), static_cast<const float*>(op.x) + pixel * shape.c,
               int64_t{region.stride()} * shape.c,
               static_cast<const float*>(op.packed) + layout.offset(panel), 0, out);
    });
  };
  // With enough images, each thread takes a share of them and keeps a panel in its cache for all of them.
  // With fewer images, panels are shared out as well.
  const int64_t shares = context.pool.threads();
  const bool by_image = shape.n >= shares;
  context.pool.run(by_image ? shares : shape.n * panels, [&](int64_t task, int) {
    const int64_t begin = by_image ? share_begin(shape.n, task, shares) : task / panels;
    const int64_t end = by_image ? share_begin(shape.n, task + 1, shares) : begin + 1;
    const int64_t from = by_image ? 0 : task % panels, to = by_image ? panels : from + 1;
    for (int64_t index = from; index < to; ++index) {
      const Panel panel = layout.panel(static_cast<int>(first_panel + index));
      const TapList taps(shape.window, shape.c, panel, region.pitch(), 1);
      for (int64_t image = begin; image < end; ++image) run_panel(panel, taps, image);
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
