// Computes the model's last layer and its loss block by block: logits, softmax cross-entropy and gradients
// of a block of pixels all stay in the cache.
#include <cmath>
#include <cstring>

#include "kernels.h"
#include "masked_conv2d_gradient.h"
#include "masked_conv2d_taps.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// A 1 x 1 convolution sees an image as a list of pixels. The blocks of pixels, and the ranges of blocks
// whose weight gradients are added together, depend on the shape only, so results do not depend on the
// threads.
struct HeadPlan {
  int64_t pixels;  // in an image
  int block;       // pixels in a block
  int64_t blocks;  // in an image
  int logits;      // of a pixel

  explicit HeadPlan(const HeadShape& shape)
      : pixels(int64_t{shape.h} * shape.w),
        block((shape.convolution().k <= 1024 ? 4 : 1) * kLargestRun),
        blocks(divide_up(pixels, block)),
        logits(shape.convolution().k) {}

  int block_pixels(int64_t index) const {
    return static_cast<int>(smaller<int64_t>(block, pixels - index * block));
  }

 private:
  static constexpr int kLargestRun = 14;
};

// One thread's copies of a block. The gradients replace the logits. In float32 they are multiplied where
// they are; in bf16 they are rounded to `grad_logits`, and both operands of the weight gradient are paired.
struct HeadScratch {
  float* logits;
  Element* grad_logits;
  Factor<Element>*x_factors, *grad_factors;
  int64_t bytes;

  HeadScratch(std::byte* memory, const HeadShape& shape, const HeadPlan& plan) {
    const int64_t pairs = divide_up(plan.block, 2), values = int64_t{plan.block} * plan.logits;
    bytes = 0;
    const auto take = [&]<class T>(T*& part, int64_t count) {
      part = memory ? reinterpret_cast<T*>(memory + bytes) : nullptr;
      bytes += round_up(count * int64_t{sizeof(T)}, 64);
    };
    take(logits, values);
    take(grad_logits, kIsBf16 ? values : 0);
    take(x_factors, kIsBf16 ? pairs * shape.c : 0);
    take(grad_factors, kIsBf16 ? pairs * plan.logits : 0);
  }
};

constexpr int kGradientParts = 16;

int64_t gradient_parts(const HeadShape& shape, const HeadPlan& plan) {
  return smaller<int64_t>(kGradientParts, shape.n * plan.blocks);
}

// Computes y[p] = x[p] * panel for pixels [0, pixels), where rows of y have `outputs` values.
template <class Out>
void convolve_pixels(const PanelLayout& layout, const Panel& panel, const void* packed, const Element* x,
                     int x_stride, int pixels, const BlockOutput<Out>& first) {
  const TapList taps(layout, panel, 0);
  for_each_run(pixels, kBlockPixels, [&](int begin, int count) {
    BlockOutput<Out> out = first;
    out.y += begin * first.stride;
    if (first.relu_output) out.relu_output += begin * first.stride;
    taps.run(ConvolveBlocks<Out>::get(count, panel.vectors), x + int64_t{begin} * x_stride, x_stride,
             static_cast<const Factor<Element>*>(packed) + layout.packed_offset(panel), 0, out);
  });
}

void compute_logits(const SoftmaxCrossEntropy& op, const Element* x, int pixels, float* logits) {
  const PanelLayout layout(op.shape.convolution(), Direction::kForward);
  for (int index = 0; index < layout.panels(); ++index) {
    const Panel panel = layout.panel(index);
    convolve_pixels<float>(layout, panel, op.packed, x, op.shape.c, pixels,
                           {logits + panel.first, layout.outputs(), op.bias + panel.first, nullptr, nullptr,
                            panel.channels, false});
  }
}

// Returns the nats of one distribution. With kGradient, replaces the logits by (softmax - one hot) *
// scale.
template <bool kGradient>
double cross_entropy(float* logits, int levels, int target, float scale) {
  const float lowest = -__builtin_inff();
  Vector most = splat(lowest);
  for (int v = 0; v < levels; v += kLanes) {
    const Vector lanes = load_partial(logits + v, levels - v, lowest);
    most = lanes > most ? lanes : most;
  }
  const float largest = largest_lane(most), target_logit = logits[target];
  Vector sums = {};
  for (int v = 0; v < levels; v += kLanes) {
    const Vector e = exp_negative(load_partial(logits + v, levels - v, lowest) - splat(largest));
    // Padding lanes add exp(-inf) = 0. Only if every logit is -inf do they add NaN, and then the result
    // must be NaN.
    sums += e;
    if constexpr (kGradient) store_partial(logits + v, e, levels - v);
  }
  const float sum = sum_of_lanes(sums);
  if constexpr (kGradient) {
    const Vector factor = splat(scale / sum);
    for (int v = 0; v < levels; v += kLanes) {
      store_partial(logits + v, load_partial(logits + v, levels - v) * factor, levels - v);
    }
    logits[target] -= scale;
  }
  return std::log(static_cast<double>(sum)) + (double{largest} - double{target_logit});
}

// Returns the nats of a block of pixels, added pixel by pixel and channel by channel.
template <bool kGradient>
double block_nats(const HeadShape& shape, const uint8_t* level, int pixels, float* logits, float scale) {
  double nats = 0;
  for (int64_t i = 0; i < int64_t{pixels} * shape.channels; ++i) {
    const int target = smaller<int>(level[i], shape.levels - 1);
    nats += cross_entropy<kGradient>(logits + i * shape.levels, shape.levels, target, scale);
  }
  return nats;
}

// Sets nats[image] to the sum of its blocks in order.
void sum_blocks(const double* block_nats, int n, int64_t blocks, double* nats) {
  for (int image = 0; image < n; ++image) {
    double sum = 0;
    for (int64_t block = 0; block < blocks; ++block) sum += block_nats[image * blocks + block];
    nats[image] = sum;
  }
}

int64_t block_nats_bytes(int64_t count) { return round_up(count * int64_t{sizeof(double)}, 64); }

// Adds the weight and bias gradients of the block that begins at `pixel` to `sums`, and writes its grad_x.
void backward_block(const SoftmaxCrossEntropy& op, int64_t pixel, int pixels, const HeadScratch& scratch,
                    float* sums) {
  const MaskedConv2dShape shape = op.shape.convolution();
  const PanelLayout forward(shape, Direction::kForward), backward(shape, Direction::kBackward);
  const int c = shape.c, logits = forward.outputs();
  const auto* relu_output = static_cast<const Element*>(op.relu_output);
  Element* grad_x = static_cast<Element*>(op.grad_x) + pixel * c;
  // A factor of the weight gradient holds the same channel of consecutive pixels.
  const float* bias_terms = scratch.logits;
  const Element* grad_logits = to_elements(scratch.logits, int64_t{pixels} * logits, scratch.grad_logits);
  const auto* x = pair_rows(static_cast<const Element*>(op.x) + pixel * c, pixels, c, scratch.x_factors);
  const auto* grad_factors = pair_rows(grad_logits, pixels, logits, scratch.grad_factors);
  const int factors = static_cast<int>(divide_up(pixels, kPerFactor<Element>));
  for (int index = 0; index < forward.panels(); ++index) {
    const Panel panel = forward.panel(index);
    const TileInput<Factor<Element>> in = {
        x, c, 0, grad_factors + panel.first, logits, 0, 1, factors, panel.channels};
    accumulate(in, panel.centre_end, panel.vectors, sums + forward.sum_offset(panel));
    add_columns(bias_terms + panel.first, logits, pixels, panel.channels,
                sums + forward.sums() + panel.column);
  }
  for (int index = 0; index < backward.panels(); ++index) {
    const Panel panel = backward.panel(index);
    convolve_pixels<Element>(
        backward, panel, op.packed_backward, grad_logits, logits, pixels,
        {grad_x + panel.first, c, nullptr, nullptr,
         relu_output ? relu_output + pixel * c + panel.first : nullptr, panel.channels, false});
  }
}

// Computes blocks [begin, end). If `sums` is given, it also computes the gradients.
void run_blocks(const SoftmaxCrossEntropy& op, const HeadPlan& plan, int64_t begin, int64_t end,
                const HeadScratch& scratch, double* nats, float* sums) {
  const HeadShape& shape = op.shape;
  const float scale = static_cast<float>(1.0 / (double{1} * shape.n * plan.pixels * shape.channels));
  for (int64_t block = begin; block < end; ++block) {
    const int64_t pixel = block / plan.blocks * plan.pixels + block % plan.blocks * plan.block;
    const int pixels = plan.block_pixels(block % plan.blocks);
    const uint8_t* level = op.level + pixel * shape.channels;
    compute_logits(op, static_cast<const Element*>(op.x) + pixel * shape.c, pixels, scratch.logits);
    if (sums == nullptr) {
      nats[block] = block_nats<false>(shape, level, pixels, scratch.logits, 0);
    } else {
      nats[block] = block_nats<true>(shape, level, pixels, scratch.logits, scale);
      backward_block(op, pixel, pixels, scratch, sums);
    }
  }
}

}  // namespace

int64_t workspace(const SoftmaxCrossEntropy& op, int threads) {
  const HeadPlan plan(op.shape);
  int64_t bytes =
      block_nats_bytes(op.shape.n * plan.blocks) + threads * HeadScratch(nullptr, op.shape, plan).bytes;
  if (op.training())
    bytes += gradient_parts(op.shape, plan) *
             partial_gradient_floats(PanelLayout(op.shape.convolution(), Direction::kForward)) *
             int64_t{sizeof(float)};
  return bytes;
}

void run(const SoftmaxCrossEntropy& op, Context& context) {
  const HeadPlan plan(op.shape);
  const int64_t blocks = op.shape.n * plan.blocks, scratch_bytes = HeadScratch(nullptr, op.shape, plan).bytes;
  double* nats = reinterpret_cast<double*>(context.workspace);
  std::byte* memory = context.workspace + block_nats_bytes(blocks);
  const auto scratch = [&](int thread) {
    return HeadScratch(memory + thread * scratch_bytes, op.shape, plan);
  };

  if (!op.training()) {
    context.pool.run(blocks, [&](int64_t block, int thread) {
      run_blocks(op, plan, block, block + 1, scratch(thread), nats, nullptr);
    });
  } else {
    const MaskedConv2dShape shape = op.shape.convolution();
    const int64_t partial_floats = partial_gradient_floats(PanelLayout(shape, Direction::kForward));
    const int64_t parts = gradient_parts(op.shape, plan);
    float* partial = reinterpret_cast<float*>(memory + context.pool.threads() * scratch_bytes);
    context.pool.run(parts, [&](int64_t part, int thread) {
      float* sums = partial + part * partial_floats;
      std::memset(sums, 0, sizeof(float) * partial_floats);
      run_blocks(op, plan, blocks * part / parts, blocks * (part + 1) / parts, scratch(thread), nats, sums);
    });
    reduce_gradients(shape, partial, static_cast<int>(parts), op.grad_weight, op.grad_bias, context.pool);
  }
  sum_blocks(nats, op.shape.n, plan.blocks, op.nats);
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
