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

  int64_t scratch_floats() const { return round_up(int64_t{block} * logits, 16); }
  int block_pixels(int64_t index) const {
    return static_cast<int>(smaller<int64_t>(block, pixels - index * block));
  }

 private:
  static constexpr int kLargestRun = 14;
};

constexpr int kGradientParts = 16;

int64_t gradient_parts(const HeadShape& shape, const HeadPlan& plan) {
  return smaller<int64_t>(kGradientParts, shape.n * plan.blocks);
}

// Computes y[p] = x[p] * panel for pixels [0, pixels), where rows of y have `outputs` values.
void convolve_pixels(const PanelLayout& layout, const Panel& panel, const float* packed, const float* x,
                     int x_stride, int pixels, const BlockOutput& first) {
  const TapList taps(masked_square(1, OwnRow::kCentre), layout.inputs(), panel, 0, 1);
  for_each_run(pixels, kBlockPixels, [&](int begin, int count) {
    BlockOutput out = first;
    out.y += begin * first.stride;
    if (first.relu_output) out.relu_output += begin * first.stride;
    taps.run(ConvolveBlocks::get(count, panel.vectors), x + int64_t{begin} * x_stride, x_stride,
             packed + layout.offset(panel), 0, out);
  });
}

void compute_logits(const SoftmaxCrossEntropy& op, const float* x, int pixels, float* logits) {
  const PanelLayout layout(op.shape.convolution(), Direction::kForward);
  for (int index = 0; index < layout.panels(); ++index) {
    const Panel panel = layout.panel(index);
    convolve_pixels(layout, panel, static_cast<const float*>(op.packed), x, op.shape.c, pixels,
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
void backward_block(const SoftmaxCrossEntropy& op, int64_t pixel, const float* grad_logits, int pixels,
                    float* sums) {
  const MaskedConv2dShape shape = op.shape.convolution();
  const PanelLayout forward(shape, Direction::kForward), backward(shape, Direction::kBackward);
  const int c = shape.c, logits = forward.outputs();
  const float* x = static_cast<const float*>(op.x) + pixel * c;
  const float* relu_output = static_cast<const float*>(op.relu_output);
  float* grad_x = static_cast<float*>(op.grad_x) + pixel * c;
  for (int index = 0; index < forward.panels(); ++index) {
    const Panel panel = forward.panel(index);
    const TileInput in = {x, c, 0, grad_logits + panel.first, logits, 0, 1, pixels, panel.channels};
    accumulate(in, panel.centre_end, panel.vectors, sums + forward.offset(panel));
    add_columns(grad_logits + panel.first, logits, pixels, panel.channels,
                sums + forward.weights() + panel.column);
  }
  for (int index = 0; index < backward.panels(); ++index) {
    const Panel panel = backward.panel(index);
    convolve_pixels(backward, panel, static_cast<const float*>(op.packed_backward), grad_logits, logits,
                    pixels,
                    {grad_x + panel.first, c, nullptr, nullptr,
                     relu_output ? relu_output + pixel * c + panel.first : nullptr, panel.channels, false});
  }
}

// Computes blocks [begin, end) with `logits` as scratch. If `sums` is given, it also computes the gradients.
void run_blocks(const SoftmaxCrossEntropy& op, const HeadPlan& plan, int64_t begin, int64_t end,
                float* logits, double* nats, float* sums) {
  const HeadShape& shape = op.shape;
  const float scale = static_cast<float>(1.0 / (double{1} * shape.n * plan.pixels * shape.channels));
  for (int64_t block = begin; block < end; ++block) {
    const int64_t pixel = block / plan.blocks * plan.pixels + block % plan.blocks * plan.block;
    const int pixels = plan.block_pixels(block % plan.blocks);
    const uint8_t* level = op.level + pixel * shape.channels;
    compute_logits(op, static_cast<const float*>(op.x) + pixel * shape.c, pixels, logits);
    if (sums == nullptr) {
      nats[block] = block_nats<false>(shape, level, pixels, logits, 0);
    } else {
      nats[block] = block_nats<true>(shape, level, pixels, logits, scale);
      backward_block(op, pixel, logits, pixels, sums);
    }
  }
}

}  // namespace

int64_t workspace(const SoftmaxCrossEntropy& op, int threads) {
  const HeadPlan plan(op.shape);
  int64_t floats = threads * plan.scratch_floats();
  if (op.training())
    floats += gradient_parts(op.shape, plan) *
              partial_gradient_floats(PanelLayout(op.shape.convolution(), Direction::kForward));
  return block_nats_bytes(op.shape.n * plan.blocks) + floats * int64_t{sizeof(float)};
}

void run(const SoftmaxCrossEntropy& op, Context& context) {
  const HeadPlan plan(op.shape);
  const int64_t blocks = op.shape.n * plan.blocks;
  double* nats = reinterpret_cast<double*>(context.workspace);
  float* scratch = reinterpret_cast<float*>(context.workspace + block_nats_bytes(blocks));

  if (!op.training()) {
    context.pool.run(blocks, [&](int64_t block, int thread) {
      run_blocks(op, plan, block, block + 1, scratch + thread * plan.scratch_floats(), nats, nullptr);
    });
  } else {
    const MaskedConv2dShape shape = op.shape.convolution();
    const int64_t partial_floats = partial_gradient_floats(PanelLayout(shape, Direction::kForward));
    const int64_t parts = gradient_parts(op.shape, plan);
    float* partial = scratch;
    scratch += parts * partial_floats;
    context.pool.run(parts, [&](int64_t part, int thread) {
      float* sums = partial + part * partial_floats;
      std::memset(sums, 0, sizeof(float) * partial_floats);
      run_blocks(op, plan, blocks * part / parts, blocks * (part + 1) / parts,
                 scratch + thread * plan.scratch_floats(), nats, sums);
    });
    reduce_gradients(shape, partial, static_cast<int>(parts), op.grad_weight, op.grad_bias, context.pool);
  }
  sum_blocks(nats, op.shape.n, plan.blocks, op.nats);
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
