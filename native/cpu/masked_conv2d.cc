// Computes masked convolutions by the direct algorithm, or passes them on to Winograd.
//
// The direct algorithm is exactly causal: a value outside an output's receptive field is never multiplied,
// not even by 0.
#include "masked_conv2d.h"

#include "masked_conv2d_gradient.h"
#include "masked_conv2d_taps.h"
#include "masked_conv2d_winograd.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// Whether Winograd is used. With Algorithm::kAuto it is where it is faster: with fewer channels its vectors
// would be mostly padding.
bool uses_winograd(const FilterShape& shape) {
  constexpr int kLeastChannels = 16;
  if (shape.algorithm == Algorithm::kDirect || !has_winograd(shape.window)) return false;
  return shape.algorithm == Algorithm::kWinograd || (shape.c >= kLeastChannels && shape.k >= kLeastChannels);
}

// Returns the rows of a strip, a part of an image that is copied with its zero padding. They are so few that
// a strip stays in the L2 cache and a small batch still occupies several threads.
int strip_rows(const MaskedConv2dShape& shape) {
  const int64_t rows = int64_t{shape.n} * shape.h / 32;
  return static_cast<int>(smaller<int64_t>(shape.h, larger<int64_t>(4, smaller<int64_t>(14, rows))));
}

// A window of one column needs no padding beside the image, and runs on the image itself.
bool uses_strips(const Window& window) { return window.columns > 1; }

// Returns the distance in pixels between the rows of a strip.
int strip_pitch(const MaskedConv2dShape& shape) { return shape.w + shape.window.columns - 1; }

int64_t strip_floats(const MaskedConv2dShape& shape, int rows, int channels) {
  if (!uses_strips(shape.window)) return 0;
  return round_up(int64_t{rows + shape.window.above} * strip_pitch(shape) * channels, 16);
}

int64_t direct_workspace(const MaskedConv2dShape& shape, Direction direction, int threads) {
  const int inputs = direction == Direction::kForward ? shape.c : shape.k;
  return threads * strip_floats(shape, strip_rows(shape), inputs) * int64_t{sizeof(float)};
}

void direct_convolve(const Convolution& conv, Context& context) {
  const MaskedConv2dShape& shape = conv.shape;
  const PanelLayout layout(shape, conv.direction);
  const int inputs = layout.inputs(), outputs = layout.outputs();
  const int sign = conv.direction == Direction::kForward ? 1 : -1;
  const Window& window = shape.window;
  const int w = shape.w, pitch = strip_pitch(shape), panels = layout.panels();
  const int rows = strip_rows(shape);
  const int64_t strips = divide_up(shape.h, rows), scratch = strip_floats(shape, rows, inputs);
  const float* weights = static_cast<const float*>(conv.packed);

  context.pool.run(shape.n * strips, [&](int64_t task, int thread) {
    const int64_t image = task / strips;
    const int begin = static_cast<int>(task % strips) * rows, end = smaller(begin + rows, shape.h);
    const float* x = conv.x + image * shape.h * w * inputs;
    const float* origin = x + int64_t{begin} * w * inputs;  // points to pixel (begin, 0)
    if (uses_strips(window)) {
      float* strip = reinterpret_cast<float*>(context.workspace) + thread * scratch;
      const int above = sign > 0 ? window.above : 0;
      const int before = sign > 0 ? window.left : window.right();
      copy_strip(x, shape.h, w, inputs, begin - above, end - begin + window.above, before,
                 window.columns - 1 - before, strip);
      origin = strip + (int64_t{above} * pitch + before) * inputs;
    }
    for (int index = 0; index < panels; ++index) {
      const Panel panel = layout.panel(index);
      TapList taps(window, inputs, panel, pitch, sign);
      for_each_run(w, kBlockPixels, [&](int column, int pixels) {
        taps.crop(column, pixels, w);
        const Block block = ConvolveBlocks::get(pixels, panel.vectors);
        for (int row = begin; row < end; ++row) {
          const int rows_inside = sign > 0 ? row : shape.h - 1 - row;
          const int64_t at = ((image * shape.h + row) * w + column) * outputs + panel.first;
          const BlockOutput out = {conv.y + at,
                                   outputs,
                                   conv.bias ? conv.bias + panel.first : nullptr,
                                   conv.add ? conv.add + at : nullptr,
                                   conv.relu_output ? conv.relu_output + at : nullptr,
                                   panel.channels,
                                   conv.relu};
          const float* from = origin + (int64_t{row - begin} * pitch + column) * inputs;
          if (!uses_strips(window) && index == 0 && row + 1 < end)
            prefetch(from + int64_t{pitch} * inputs, int64_t{pixels} * inputs);
          taps.run(block, from, inputs, weights + layout.offset(panel), larger(0, window.above - rows_inside),
                   out);
        }
      });
    }
  });
}

void direct_pack(const FilterPack& filter, Context& context) {
  const FilterShape& shape = filter.shape;
  const PanelLayout layout(shape, filter.direction);
  const bool forward = filter.direction == Direction::kForward;
  const int64_t window = shape.window.weights();
  const int64_t output_stride = forward ? shape.c * window : window;
  const int64_t input_stride = forward ? window : shape.c * window;
  const int inputs = layout.inputs(), taps = layout.taps();
  float* packed = static_cast<float*>(filter.packed);
  constexpr int kChannels = 16;
  const int64_t channel_tasks = divide_up(inputs, kChannels);

  context.pool.run(layout.panels() * channel_tasks, [&](int64_t task, int) {
    const Panel panel = layout.panel(static_cast<int>(task / channel_tasks));
    const int width = panel.width(), begin = static_cast<int>(task % channel_tasks) * kChannels;
    float* out = packed + layout.offset(panel);
    for (int c = begin; c < smaller(begin + kChannels, inputs); ++c) {
      const bool centre = panel.centre_begin <= c && c < panel.centre_end;
      float* centre_out = out + (int64_t{taps - 1} * inputs + c - panel.centre_begin) * width;
      for (int lane = 0; lane < width; ++lane) {
        const bool live = lane < panel.channels;
        const float* from =
            filter.weight + (panel.first + (live ? lane : 0)) * output_stride + c * input_stride;
        for (int tap = 0; tap < taps - 1; ++tap)
          out[(int64_t{tap} * inputs + c) * width + lane] = live ? from[tap] : 0;
        if (centre) centre_out[lane] = live ? from[taps - 1] : 0;
      }
    }
  });
}

// Each partial gradient covers a fixed range of images. A task is one range and one panel; there are about
// 32.
int gradient_parts(const MaskedConv2dShape& shape, const PanelLayout& layout) {
  return static_cast<int>(smaller<int64_t>(shape.n, divide_up(32, layout.panels())));
}

// Chooses so few rows that x and grad_y stay in the L1 cache during a pass over the taps.
int gradient_rows(const MaskedConv2dShape& shape) { return smaller(shape.h, larger(1, 56 / shape.w)); }

bool gradient_on_strips(const MaskedConv2dShape& shape) {
  return shape.c < kTileChannels && uses_strips(shape.window);
}

int64_t direct_gradient_workspace(const MaskedConv2dShape& shape, int threads) {
  const PanelLayout layout(shape, Direction::kForward);
  int64_t floats = gradient_parts(shape, layout) * partial_gradient_floats(layout);
  if (gradient_on_strips(shape)) floats += threads * strip_floats(shape, gradient_rows(shape), shape.c);
  return floats * int64_t{sizeof(float)};
}

// Adds the weight gradient of rows [begin, begin + rows) of one image to `sums`, for one panel.
void add_gradient_by_tap(const MaskedConv2dShape& shape, const Panel& panel, const float* x,
                         const float* grad_y, int begin, int rows, float* sums) {
  const Window& window = shape.window;
  const int w = shape.w, c = shape.c, k = shape.k, taps = window.taps();
  for (int channel = 0; channel < c; channel += kTileChannels) {
    for (int tap = 0; tap < taps; ++tap) {
      const int dy = tap / window.columns - window.above, dx = tap % window.columns - window.left;
      const int channels = smaller(kTileChannels, (tap == taps - 1 ? panel.centre_end : c) - channel);
      const int skip = larger(0, -dy - begin), left = larger(0, -dx), pixels = w - left - larger(0, dx);
      if (skip >= rows || channels <= 0 || pixels <= 0) continue;
      const TileInput in = {x + (int64_t{begin + skip + dy} * w + left + dx) * c + channel,
                            c,
                            int64_t{w} * c,
                            grad_y + (int64_t{begin + skip} * w + left) * k + panel.first,
                            k,
                            int64_t{w} * k,
                            rows - skip,
                            pixels,
                            panel.channels};
      accumulate(in, channels, panel.vectors, sums + (int64_t{tap} * c + channel) * panel.width());
    }
  }
}

// Does the same for few input channels. In a strip, the taps of a filter row and their channels are
// contiguous, so a whole filter row is one run.
void add_gradient_by_row(const MaskedConv2dShape& shape, const Panel& panel, const float* x,
                         const float* grad_y, int begin, int rows, float* strip, float* sums) {
  const Window& window = shape.window;
  const int w = shape.w, c = shape.c, k = shape.k, taps = window.taps();
  const int64_t pitch = int64_t{strip_pitch(shape)} * c;
  copy_strip(x, shape.h, w, c, begin - window.above, rows + window.above, window.left, window.right(), strip);
  for (int row = 0; row * window.columns < taps; ++row) {
    const int skip = larger(0, window.above - row - begin);
    if (skip >= rows) continue;
    const int rest = taps - row * window.columns;  // taps from the beginning of this filter row on
    const int channels = rest > window.columns ? window.columns * c : (rest - 1) * c + panel.centre_end;
    const TileInput in = {strip + (row + skip) * pitch,
                          c,
                          pitch,
                          grad_y + int64_t{begin + skip} * w * k + panel.first,
                          k,
                          int64_t{w} * k,
                          rows - skip,
                          w,
                          panel.channels};
    accumulate(in, channels, panel.vectors, sums + int64_t{row} * window.columns * c * panel.width());
  }
}

void direct_gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const PanelLayout layout(shape, Direction::kForward);
  const int parts = gradient_parts(shape, layout), panels = layout.panels(), pass = gradient_rows(shape);
  const int64_t part_floats = partial_gradient_floats(layout), pixels = int64_t{shape.h} * shape.w;
  const int64_t scratch = strip_floats(shape, pass, shape.c);
  float* partial = reinterpret_cast<float*>(context.workspace);
  float* strips = partial + parts * part_floats;

  context.pool.run(int64_t{parts} * panels, [&](int64_t task, int thread) {
    const int64_t part = task / panels;
    const Panel panel = layout.panel(static_cast<int>(task % panels));
    float* sums = partial + part * part_floats + layout.offset(panel);
    float* bias = partial + part * part_floats + layout.weights() + panel.column;
    std::memset(sums, 0, sizeof(float) * layout.taps() * shape.c * panel.width());
    std::memset(bias, 0, sizeof(float) * panel.width());
    for (int64_t image = shape.n * part / parts; image < shape.n * (part + 1) / parts; ++image) {
      const float* x = static_cast<const float*>(op.x) + image * pixels * shape.c;
      const float* grad_y = static_cast<const float*>(op.grad_y) + image * pixels * shape.k;
      for (int begin = 0; begin < shape.h; begin += pass) {
        const int rows = smaller(pass, shape.h - begin);
        const int64_t next = int64_t{begin + rows} * shape.w,
                      next_end = smaller(next + int64_t{pass} * shape.w, pixels);
        for (int64_t pixel = next; pixel < next_end; ++pixel) {
          prefetch(x + pixel * shape.c, shape.c);
          prefetch(grad_y + pixel * shape.k + panel.first, panel.channels);
        }
        if (gradient_on_strips(shape)) {
          add_gradient_by_row(shape, panel, x, grad_y, begin, rows, strips + thread * scratch, sums);
        } else {
          add_gradient_by_tap(shape, panel, x, grad_y, begin, rows, sums);
        }
        if (op.grad_bias)
          add_columns(grad_y + int64_t{begin} * shape.w * shape.k + panel.first, shape.k,
                      int64_t{rows} * shape.w, panel.channels, bias);
      }
    }
  });
  reduce_gradients(shape, partial, parts, op.grad_weight, op.grad_bias, context.pool);
}

int64_t convolve_workspace(const MaskedConv2dShape& shape, Direction direction, int threads) {
  return uses_winograd(shape) ? winograd_workspace(shape, direction, threads)
                              : direct_workspace(shape, direction, threads);
}

void convolve(const Convolution& conv, Context& context) {
  uses_winograd(conv.shape) ? winograd_convolve(conv, context) : direct_convolve(conv, context);
}

}  // namespace

int64_t packed_bytes(const FilterShape& shape, Direction direction) {
  if (uses_winograd(shape)) return winograd_packed_bytes(shape, direction);
  return PanelLayout(shape, direction).weights() * int64_t{sizeof(float)};
}

int64_t workspace(const MaskedConv2dPack&, int) { return 0; }
void run(const MaskedConv2dPack& op, Context& context) {
  for (int i = 0; i < op.count; ++i) {
    const FilterPack& filter = op.filters[i];
    uses_winograd(filter.shape) ? winograd_pack(filter, context) : direct_pack(filter, context);
  }
}

int64_t workspace(const MaskedConv2d& op, int threads) {
  return op.region.is_image() ? convolve_workspace(op.shape, Direction::kForward, threads) : 0;
}
void run(const MaskedConv2d& op, Context& context) {
  if (!op.region.is_image()) return convolve_region(op, context);
  convolve({op.shape, Direction::kForward, static_cast<const float*>(op.x), op.packed, op.bias,
            static_cast<const float*>(op.add), nullptr, op.relu != 0, static_cast<float*>(op.y)},
           context);
}

int64_t workspace(const MaskedConv2dBackwardInput& op, int threads) {
  return convolve_workspace(op.shape, Direction::kBackward, threads);
}
void run(const MaskedConv2dBackwardInput& op, Context& context) {
  convolve({op.shape, Direction::kBackward, static_cast<const float*>(op.grad_y), op.packed, nullptr,
            static_cast<const float*>(op.add), static_cast<const float*>(op.relu_output), false,
            static_cast<float*>(op.grad_x)},
           context);
}

int64_t workspace(const MaskedConv2dBackwardWeight& op, int threads) {
  return uses_winograd(op.shape) ? winograd_gradient_workspace(op.shape, threads)
                                 : direct_gradient_workspace(op.shape, threads);
}
void run(const MaskedConv2dBackwardWeight& op, Context& context) {
  uses_winograd(op.shape) ? winograd_gradient(op, context) : direct_gradient(op, context);
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
