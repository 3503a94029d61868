// Computes the weight gradient of masked convolution by the direct algorithm.
#include "masked_conv2d.h"
#include "masked_conv2d_gradient.h"
#include "masked_conv2d_taps.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// A factor holds the same pixel and channel of so many images. Pixels of one image would not do, because a
// tap may shift x against grad_y by an odd number of pixels.
constexpr int kImages = kPerFactor<Element>;

int64_t image_groups(const MaskedConv2dShape& shape) { return divide_up(shape.n, kImages); }

// Each partial gradient covers a fixed range of images. A task is one range and one panel; there are about
// 32.
int gradient_parts(const MaskedConv2dShape& shape, const PanelLayout& layout) {
  return static_cast<int>(smaller<int64_t>(image_groups(shape), divide_up(32, layout.panels())));
}

// Chooses so few rows that x and grad_y stay in the L1 cache during a pass over the taps.
int pass_rows(const MaskedConv2dShape& shape) { return smaller(shape.h, larger(1, 56 / shape.w)); }

// With few input channels, a whole row of the filter runs as one tap.
bool runs_by_row(const MaskedConv2dShape& shape) {
  return shape.c < kTileChannels && uses_strips(shape.window);
}

int64_t x_strip_factors(const MaskedConv2dShape& shape) {
  if (kImages == 1 && !runs_by_row(shape)) return 0;
  return round_up(int64_t{strip_rows(shape) + shape.window.above} * strip_pitch(shape) * shape.c, 16);
}

int64_t strip_factors(const MaskedConv2dShape& shape) {
  const int64_t grad_y = kImages == 1 ? 0 : int64_t{strip_rows(shape)} * shape.w * PanelLayout::kWidth;
  return x_strip_factors(shape) + grad_y;
}

// Rows of x and grad_y as factors. Both begin at the same pixel of column 0, grad_y at the panel's first
// channel.
template <class E>
struct GradientRows {
  const Factor<E>* x;
  int64_t x_row;  // in factors, from one row to the next
  const Factor<E>* grad_y;
  int64_t grad_y_pixel;  // in factors, from one pixel to the next

  GradientRows from(int row, int w) const {
    return {x + row * x_row, x_row, grad_y + int64_t{row} * w * grad_y_pixel, grad_y_pixel};
  }
};

// Returns rows [begin, end) of a group of images. `strip` receives what cannot be read in place: the rows of
// x with their zero padding if the taps run by row, and all pairs of bf16.
template <class E>
GradientRows<E> prepare_rows(const MaskedConv2dBackwardWeight& op, const Panel& panel, int64_t group,
                             int begin, int end, Factor<E>* strip) {
  const MaskedConv2dShape& shape = op.shape;
  const Window& window = shape.window;
  const int w = shape.w, c = shape.c, k = shape.k;
  const int64_t image = group * kImages, pixels = int64_t{shape.h} * w;
  const E* x = static_cast<const E*>(op.x) + image * pixels * c;
  const E* grad_y =
      static_cast<const E*>(op.grad_y) + (image * pixels + int64_t{begin} * w) * k + panel.first;
  const int64_t x_row = int64_t{strip_pitch(shape)} * c;
  const bool alone = image + 1 == shape.n;
  if (x_strip_factors(shape) > 0) {
    fill_strip(shape.h, begin - window.above, end - begin + window.above, window.left * c, w * c,
               window.right() * c, strip, [&](int row, Factor<E>* out) {
                 const E* from = x + int64_t{row} * w * c;
                 gather_factors(from, alone ? nullptr : from + pixels * c, w * c, out);
               });
  }
  const int64_t first_pixel = window.above * x_row + window.left * c;
  if constexpr (kImages == 1) {
    if (runs_by_row(shape)) return {strip + first_pixel, x_row, grad_y, k};
    return {x + int64_t{begin} * w * c, int64_t{w} * c, grad_y, k};
  } else {
    const int width = panel.width();
    Factor<E>* grad_y_copied = strip + x_strip_factors(shape);
    for (int64_t pixel = 0; pixel < int64_t{end - begin} * w; ++pixel) {
      const E* from = grad_y + pixel * k;
      gather_factors(from, alone ? nullptr : from + pixels * k, panel.channels,
                     grad_y_copied + pixel * width);
    }
    return {strip + first_pixel, x_row, grad_y_copied, width};
  }
}

// Adds the weight gradient of `count` rows, of which the first is row `begin` of the image, to `sums`, for
// one panel.
template <class E>
void add_gradient_by_tap(const MaskedConv2dShape& shape, const Panel& panel, const GradientRows<E>& rows,
                         int begin, int count, float* sums) {
  const Window& window = shape.window;
  const int w = shape.w, c = shape.c, taps = window.taps();
  for (int channel = 0; channel < c; channel += kTileChannels) {
    for (int tap = 0; tap < taps; ++tap) {
      const int dy = tap / window.columns - window.above, dx = tap % window.columns - window.left;
      const int channels = smaller(kTileChannels, (tap == taps - 1 ? panel.centre_end : c) - channel);
      const int skip = larger(0, -dy - begin), left = larger(0, -dx), pixels = w - left - larger(0, dx);
      if (skip >= count || channels <= 0 || pixels <= 0) continue;
      const TileInput<Factor<E>> in = {rows.x + (skip + dy) * rows.x_row + (left + dx) * c + channel,
                                       c,
                                       rows.x_row,
                                       rows.grad_y + (int64_t{skip} * w + left) * rows.grad_y_pixel,
                                       rows.grad_y_pixel,
                                       w * rows.grad_y_pixel,
                                       count - skip,
                                       pixels,
                                       panel.channels};
      accumulate(in, channels, panel.vectors, sums + (int64_t{tap} * c + channel) * panel.width());
    }
  }
}

// Does the same for few input channels, in strips, where the taps of a filter row and their channels are
// contiguous.
template <class E>
void add_gradient_by_row(const MaskedConv2dShape& shape, const Panel& panel, const GradientRows<E>& rows,
                         int begin, int count, float* sums) {
  const Window& window = shape.window;
  const int w = shape.w, c = shape.c, taps = window.taps();
  for (int row = 0; row * window.columns < taps; ++row) {
    const int skip = larger(0, window.above - row - begin);
    if (skip >= count) continue;
    const int rest = taps - row * window.columns;  // taps from the beginning of this filter row on
    const int channels = rest > window.columns ? window.columns * c : (rest - 1) * c + panel.centre_end;
    const TileInput<Factor<E>> in = {rows.x + (row + skip - window.above) * rows.x_row - window.left * c,
                                     c,
                                     rows.x_row,
                                     rows.grad_y + int64_t{skip} * w * rows.grad_y_pixel,
                                     rows.grad_y_pixel,
                                     w * rows.grad_y_pixel,
                                     count - skip,
                                     w,
                                     panel.channels};
    accumulate(in, channels, panel.vectors, sums + int64_t{row} * window.columns * c * panel.width());
  }
}

// Adds the bias gradient of rows [begin, end) of a group of images to `sums`.
void add_bias_gradient(const MaskedConv2dBackwardWeight& op, const Panel& panel, int64_t group, int begin,
                       int end, float* sums) {
  const MaskedConv2dShape& shape = op.shape;
  for (int64_t image = group * kImages; image < smaller<int64_t>(shape.n, (group + 1) * kImages); ++image) {
    const int64_t pixel = (image * shape.h + begin) * shape.w;
    add_columns(static_cast<const Element*>(op.grad_y) + pixel * shape.k + panel.first, shape.k,
                int64_t{end - begin} * shape.w, panel.channels, sums);
  }
}

// Asks for `count` pixels of one image, which are read next. Without always_inline, GCC takes this for a
// function without effect and leaves the call out.
__attribute__((always_inline)) inline void prefetch_pixels(const MaskedConv2dBackwardWeight& op,
                                                           const Panel& panel, int64_t first, int64_t count) {
  const int c = op.shape.c, k = op.shape.k;
  for (int64_t pixel = first; pixel < first + count; ++pixel) {
    prefetch(static_cast<const Element*>(op.x) + pixel * c, c);
    prefetch(static_cast<const Element*>(op.grad_y) + pixel * k + panel.first, panel.channels);
  }
}

}  // namespace

int64_t direct_gradient_workspace(const MaskedConv2dShape& shape, int threads) {
  const PanelLayout layout(shape, Direction::kForward);
  return gradient_parts(shape, layout) * partial_gradient_floats(layout) * int64_t{sizeof(float)} +
         threads * strip_factors(shape) * int64_t{sizeof(Factor<Element>)};
}

void direct_gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const PanelLayout layout(shape, Direction::kForward);
  const int parts = gradient_parts(shape, layout), panels = layout.panels();
  const int strip = strip_rows(shape), pass = pass_rows(shape), h = shape.h, w = shape.w;
  const int64_t part_floats = partial_gradient_floats(layout), groups = image_groups(shape);
  float* partial = reinterpret_cast<float*>(context.workspace);
  auto* strips = reinterpret_cast<Factor<Element>*>(partial + parts * part_floats);

  context.pool.run(int64_t{parts} * panels, [&](int64_t task, int thread) {
    const int64_t part = task / panels;
    const Panel panel = layout.panel(static_cast<int>(task % panels));
    float* sums = partial + part * part_floats + layout.sum_offset(panel);
    float* bias = partial + part * part_floats + layout.sums() + panel.column;
    std::memset(sums, 0, sizeof(float) * layout.taps() * shape.c * panel.width());
    std::memset(bias, 0, sizeof(float) * panel.width());
    for (int64_t group = groups * part / parts; group < groups * (part + 1) / parts; ++group) {
      for (int begin = 0; begin < h; begin += strip) {
        const int end = smaller(begin + strip, h);
        const auto rows =
            prepare_rows<Element>(op, panel, group, begin, end, strips + thread * strip_factors(shape));
        for (int row = begin; row < end; row += pass) {
          const int count = smaller(pass, end - row), next = smaller(pass, h - row - count);
          if (kImages == 1) prefetch_pixels(op, panel, (group * h + row + count) * w, int64_t{next} * w);
          const auto add = runs_by_row(shape) ? add_gradient_by_row<Element> : add_gradient_by_tap<Element>;
          add(shape, panel, rows.from(row - begin, w), row, count, sums);
          if (op.grad_bias) add_bias_gradient(op, panel, group, row, row + count, bias);
        }
      }
    }
  });
  reduce_gradients(shape, partial, parts, op.grad_weight, op.grad_bias, context.pool);
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
