// Computes a masked convolution at the pixels of the sampler's front or row, for the output channels of one
// group or of all groups.
#include "masked_conv2d.h"
#include "masked_conv2d_taps.h"
#include "region.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// With fewer products, waking a thread takes longer than it saves.
constexpr int64_t kLeastShared = 1 << 17;
// With fewer pixels, a thread would read its weights for too little work.
constexpr int kLeastPixels = 4;

}  // namespace

void convolve_region(const MaskedConv2d& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const int t = add_fronts(*op.position, op.region.ahead);
  const RegionPixels region(op.region, shape.n, shape.h, shape.w, t);
  if (region.empty()) return;
  const PanelLayout layout(shape, Direction::kForward);
  const bool all = op.region.group == Region::kAllGroups;
  const int first_panel = all ? 0 : layout.first_panel(op.region.group);
  const int end_panel = all ? layout.panels() : layout.first_panel(op.region.group + 1);
  const auto* add = static_cast<const Element*>(op.add);

  // Computes pixels [first, last) of series [begin, end) for one panel, which stays in the cache meanwhile.
  const auto run_panel = [&](const RegionPixels& pixels, int index, int64_t begin, int64_t end, int first,
                             int last) {
    const Panel panel = layout.panel(index);
    const TapList taps(layout, panel, pixels.pitch());
    for (int64_t series = begin; series < end; ++series) {
      for_each_run(last - first, kBlockPixels, [&](int start, int count) {
        const int64_t pixel = pixels.padded_pixel(series, first + start), at = pixel * shape.k + panel.first;
        const BlockOutput<Element> out = {static_cast<Element*>(op.y) + at,
                                          pixels.stride() * shape.k,
                                          op.bias ? op.bias + panel.first : nullptr,
                                          add ? add + at : nullptr,
                                          nullptr,
                                          panel.channels,
                                          op.relu != 0};
        taps.run(ConvolveBlocks<Element>::get(count, panel.vectors),
                 static_cast<const Element*>(op.x) + pixel * shape.c, pixels.stride() * shape.c,
                 static_cast<const Factor<Element>*>(op.packed) + layout.packed_offset(panel), 0, out);
      });
    }
  };

  // What takes less time than to wake a thread is not shared. Otherwise each thread takes a share of the
  // images or, if there are few, of the pixels of each, or of the panels.
  const int64_t products = region.count() * shape.window.taps() * shape.c * shape.k;
  const int shares = products < kLeastShared ? 1 : context.pool.threads();
  const int64_t series = region.series(), length = region.length(), panels = end_panel - first_panel;
  const auto share = [shares](int64_t total, int64_t index) {
    return static_cast<int>(share_begin(total, index, shares));
  };
  if (shape.n >= shares) {
    context.pool.run(shares, [&](int64_t task, int) {
      const int begin = share(shape.n, task), images = share(shape.n, task + 1) - begin;
      const RegionPixels own(op.region, images, shape.h, shape.w, t, begin);
      for (int index = first_panel; index < end_panel; ++index)
        run_panel(own, index, 0, own.series(), 0, own.length());
    });
  } else if (length >= kLeastPixels * shares) {
    context.pool.run(shares, [&](int64_t task, int) {
      for (int index = first_panel; index < end_panel; ++index)
        run_panel(region, index, 0, series, share(length, task), share(length, task + 1));
    });
  } else {
    context.pool.run(series * panels, [&](int64_t task, int) {
      const int64_t one = task / panels;
      run_panel(region, first_panel + static_cast<int>(task % panels), one, one + 1, 0, region.length());
    });
  }
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
