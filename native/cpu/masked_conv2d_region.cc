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
  const RegionPixels region(op.region, shape.n, shape.h, shape.w, add_fronts(*op.position, op.region.ahead));
  if (region.empty()) return;
  const PanelLayout layout(shape, Direction::kForward);
  const bool all = op.region.group == Region::kAllGroups;
  const int64_t first_panel = all ? 0 : layout.first_panel(op.region.group);
  const int64_t panels = (all ? layout.panels() : layout.first_panel(op.region.group + 1)) - first_panel;
  const auto* add = static_cast<const Element*>(op.add);

  const auto run_panel = [&](const Panel& panel, const TapList& taps, int64_t series, int first, int pixels) {
    for_each_run(pixels, kBlockPixels, [&](int begin, int count) {
      const int64_t pixel = region.padded_pixel(series, first + begin), at = pixel * shape.k + panel.first;
      const BlockOutput<Element> out = {static_cast<Element*>(op.y) + at,
                                        region.stride() * shape.k,
                                        op.bias ? op.bias + panel.first : nullptr,
                                        add ? add + at : nullptr,
                                        nullptr,
                                        panel.channels,
                                        op.relu != 0};
      taps.run(ConvolveBlocks<Element>::get(count, panel.vectors),
               static_cast<const Element*>(op.x) + pixel * shape.c, region.stride() * shape.c,
               static_cast<const Factor<Element>*>(op.packed) + layout.packed_offset(panel), 0, out);
    });
  };
  // With enough series, or pixels in one, each thread takes a share of them and keeps a panel in its cache
  // for all of them. Otherwise panels are shared out. What takes less time than to wake a thread is not
  // shared.
  const int64_t products = region.count() * shape.window.taps() * shape.c * shape.k;
  const int64_t shares = products < kLeastShared ? 1 : context.pool.threads();
  const int64_t series = region.series(), length = region.length();
  const bool by_series = series >= shares, by_pixel = !by_series && length >= kLeastPixels * shares;
  context.pool.run(by_series || by_pixel ? shares : series * panels, [&](int64_t task, int) {
    const int64_t begin = by_series ? share_begin(series, task, shares) : by_pixel ? 0 : task / panels;
    const int64_t end = by_series ? share_begin(series, task + 1, shares) : by_pixel ? series : begin + 1;
    const int first = by_pixel ? static_cast<int>(share_begin(length, task, shares)) : 0;
    const int last = by_pixel ? static_cast<int>(share_begin(length, task + 1, shares)) : length;
    const bool all_panels = by_series || by_pixel;
    const int64_t from = all_panels ? 0 : task % panels, to = all_panels ? panels : from + 1;
    for (int64_t index = from; index < to; ++index) {
      const Panel panel = layout.panel(static_cast<int>(first_panel + index));
      const TapList taps(layout, panel, region.pitch());
      for (int64_t s = begin; s < end; ++s) run_panel(panel, taps, s, first, last - first);
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
