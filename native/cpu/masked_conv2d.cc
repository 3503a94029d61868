// Computes masked convolutions by the direct algorithm, or passes them on to Winograd.
//
// The direct algorithm is exactly causal: a value outside an output's receptive field is never multiplied,
// not even by 0.
#include "masked_conv2d.h"

#include "masked_conv2d_taps.h"
#include "masked_conv2d_winograd.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// Whether Winograd is used. With Algorithm::kAuto it is where it is faster: with fewer channels its vectors
// would be mostly padding. It multiplies float32 in every table, so in bf16, where direct products take half
// the time, it must save more of them.
bool uses_winograd(const FilterShape& shape) {
  constexpr int kLeastChannels = 16, kLeastSavingInBf16 = 3;
  if (shape.algorithm == Algorithm::kDirect || !has_winograd(shape.window)) return false;
  if (shape.algorithm == Algorithm::kWinograd) return true;
  if (kIsBf16 && winograd_saving(shape.window) < kLeastSavingInBf16) return false;
  return shape.c >= kLeastChannels && shape.k >= kLeastChannels;
}

int64_t direct_workspace(const MaskedConv2dShape& shape, Direction direction, int threads) {
  const int inputs = direction == Direction::kForward ? shape.c : shape.k;
  return threads * strip_values(shape, strip_rows(shape), inputs) * int64_t{sizeof(Element)};
}

template <class Out>
void direct_convolve(const Convolution<Out>& conv, Context& context) {
  const MaskedConv2dShape& shape = conv.shape;
  const PanelLayout layout(shape, conv.direction);
  const int inputs = layout.inputs(), outputs = layout.outputs();
  const int sign = layout.sign();
  const Window& window = shape.window;
  const int w = shape.w, pitch = strip_pitch(shape), panels = layout.panels();
  const int rows = strip_rows(shape);
  const int64_t strips = divide_up(shape.h, rows), scratch = strip_values(shape, rows, inputs);
  const auto* weights = static_cast<const Factor<Element>*>(conv.packed);

  context.pool.run(shape.n * strips, [&](int64_t task, int thread) {
    const int64_t image = task / strips;
    const int begin = static_cast<int>(task % strips) * rows, end = smaller(begin + rows, shape.h);
    const Element* x = conv.x + image * shape.h * w * inputs;
    const Element* origin = x + int64_t{begin} * w * inputs;  // points to pixel (begin, 0)
    if (uses_strips(window)) {
      Element* strip = reinterpret_cast<Element*>(context.workspace) + thread * scratch;
      const int above = sign > 0 ? window.above : 0;
      const int before = sign > 0 ? window.left : window.right();
      const int64_t row = int64_t{w} * inputs;
      fill_strip(shape.h, begin - above, end - begin + window.above, before * inputs, row,
                 (window.columns - 1 - before) * inputs, strip,
                 [&](int y, Element* to) { std::memcpy(to, x + y * row, row * sizeof(Element)); });
      origin = strip + (int64_t{above} * pitch + before) * inputs;
    }
    for (int index = 0; index < panels; ++index) {
      const Panel panel = layout.panel(index);
      TapList taps(layout, panel, pitch);
      for_each_run(w, kBlockPixels, [&](int column, int pixels) {
        taps.crop(column, pixels, w);
        const Block<Element, Out> block = ConvolveBlocks<Out>::get(pixels, panel.vectors);
        for (int row = begin; row < end; ++row) {
          const int rows_inside = sign > 0 ? row : shape.h - 1 - row;
          const int64_t at = ((image * shape.h + row) * w + column) * outputs + panel.first;
          const BlockOutput<Out> out = {conv.y + at,
                                        outputs,
                                        conv.bias ? conv.bias + panel.first : nullptr,
                                        conv.add ? conv.add + at : nullptr,
                                        conv.relu_output ? conv.relu_output + at : nullptr,
                                        panel.channels,
                                        conv.relu};
          const Element* from = origin + (int64_t{row - begin} * pitch + column) * inputs;
          if (!uses_strips(window) && index == 0 && row + 1 < end)
            prefetch(from + int64_t{pitch} * inputs, int64_t{pixels} * inputs);
          taps.run(block, from, inputs, weights + layout.packed_offset(panel),
                   larger(0, window.above - rows_inside), out);
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
  auto* packed = static_cast<Factor<Element>*>(filter.packed);
  constexpr int kChannels = 16, kElements = kPerFactor<Element>;
  const int64_t channel_tasks = divide_up(inputs, kChannels);

  context.pool.run(layout.panels() * channel_tasks, [&](int64_t task, int) {
    const Panel panel = layout.panel(static_cast<int>(task / channel_tasks));
    const int width = panel.width(), begin = static_cast<int>(task % channel_tasks) * kChannels;
    for (int c = begin; c < smaller(begin + kChannels, inputs); ++c) {
      const bool centre = panel.centre_begin <= c && c < panel.centre_end;
      for (int tap = 0; tap < (centre ? taps : taps - 1); ++tap) {
        const PanelLayout::Place at = layout.place(panel, tap, c);
        auto* out = reinterpret_cast<Element*>(packed + layout.packed_offset(panel) + at.factor * width);
        const float* from = filter.weight + panel.first * output_stride + c * input_stride + tap;
        for (int lane = 0; lane < width; ++lane) {
          const bool live = lane < panel.channels;
          out[lane * kElements + at.element] = to_element(live ? from[lane * output_stride] : 0);
          if (at.last && at.element + 1 < kElements) out[lane * kElements + at.element + 1] = to_element(0);
        }
      }
    }
  });
}

int64_t convolve_workspace(const MaskedConv2dShape& shape, Direction direction, int threads) {
  return uses_winograd(shape) ? winograd_workspace(shape, direction, threads)
                              : direct_workspace(shape, direction, threads);
}

template <class Out>
void convolve(const Convolution<Out>& conv, Context& context) {
  uses_winograd(conv.shape) ? winograd_convolve(conv, context) : direct_convolve(conv, context);
}

template <class Out>
void convolve_forward(const MaskedConv2d& op, Context& context) {
  convolve<Out>({op.shape, Direction::kForward, static_cast<const Element*>(op.x), op.packed, op.bias,
                 static_cast<const Out*>(op.add), nullptr, op.relu != 0, static_cast<Out*>(op.y)},
                context);
}

}  // namespace

int64_t packed_bytes(const FilterShape& shape, Direction direction) {
  if (uses_winograd(shape)) return winograd_packed_bytes(shape, direction);
  return PanelLayout(shape, direction).packed_factors() * int64_t{sizeof(Factor<Element>)};
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
  op.float_y ? convolve_forward<float>(op, context) : convolve_forward<Element>(op, context);
}

int64_t workspace(const MaskedConv2dBackwardInput& op, int threads) {
  return convolve_workspace(op.shape, Direction::kBackward, threads);
}
void run(const MaskedConv2dBackwardInput& op, Context& context) {
  convolve<Element>({op.shape, Direction::kBackward, static_cast<const Element*>(op.grad_y), op.packed,
                     nullptr, static_cast<const Element*>(op.add),
                     static_cast<const Element*>(op.relu_output), false, static_cast<Element*>(op.grad_x)},
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
