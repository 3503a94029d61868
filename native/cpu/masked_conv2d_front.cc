// Computes a masked convolution at the pixels of the sampler's front, for the output channels of one
// group.
#include "front.h"
#include "kernels.h"
#include "masked_conv2d_taps.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

int64_t workspace(const MaskedConv2dFront&, int) { return 0; }

void run(const MaskedConv2dFront& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const Front front(op.front, shape.h, shape.w, add_fronts(*op.position, op.ahead));
  if (front.count() == 0) return;
  const PanelLayout layout(shape, Direction::kForward);
  const int64_t first_panel = layout.first_panel(op.group),
                panels = layout.first_panel(op.group + 1) - first_panel;

  const auto run_panel = [&](const Panel& panel, const TapList& taps, int64_t image) {
    for_each_run(front.count(), kBlockPixels, [&](int begin, int count) {
      const int64_t pixel = front.padded_pixel(image, begin);
      const BlockOutput out = {static_cast<float*>(op.y) + pixel * shape.k + panel.first,
                               int64_t{front.stride()} * shape.k,
                               op.bias + panel.first,
                               nullptr,
                               panel.channels,
                               true};
      taps.run(ConvolveBlocks::get(count, panel.vectors), static_cast<const float*>(op.x) + pixel * shape.c,
               int64_t{front.stride()} * shape.c, static_cast<const float*>(op.packed) + layout.offset(panel),
               0, out);
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
      const TapList taps(shape.kernel_size, shape.c, panel, front.pitch(), 1);
      for (int64_t image = begin; image < end; ++image) run_panel(panel, taps, image);
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
