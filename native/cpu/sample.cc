// Draws one image channel at the pixels of the sampler's front, and moves the front on.
#include <cstring>

#include "kernels.h"
#include "masked_conv2d_taps.h"
#include "region.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// With fewer logits, waking a thread takes longer than it saves.
constexpr int64_t kLeastShared = 1 << 9;

constexpr int kLevelsInBlock = 16, kMostLevels = 256;

// Returns the sum of `count` floats, at most a block of levels. The order does not depend on the instruction
// set.
double block_sum(const float* p, int count) {
  if (count < kLevelsInBlock) {
    double sum = 0;
    for (int v = 0; v < count; ++v) sum += p[v];
    return sum;
  }
  double sums[8];
  for (int i = 0; i < 8; ++i) sums[i] = static_cast<double>(p[i]) + static_cast<double>(p[i + 8]);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

// Returns the largest logit, or NaN if one of them is not finite.
float largest_logit(const float* logits, int levels) {
  constexpr float kLowest = -3.402823466e+38f;
  Vector most = splat(kLowest), not_finite = {};
  for (int v = 0; v < levels; v += kLanes) {
    const Vector lanes = load_partial(logits + v, levels - v, kLowest);
    most = lanes > most ? lanes : most;
    not_finite += lanes - lanes;
  }
  return largest_lane(most) + sum_of_lanes(not_finite);
}

// Replaces each logit by exp((logit - largest) / temperature).
void exponentiate(float* logits, int levels, float largest, float temperature) {
  const Vector most = splat(largest), divisor = splat(temperature);
  for (int v = 0; v < levels; v += kLanes) {
    store_partial(logits + v, exp_negative((load_partial(logits + v, levels - v) - most) / divisor),
                  levels - v);
  }
}

// Does what draw_level does, level by level, for logits of which some are NaN or infinite. If the total is
// NaN, the last level with a probability is drawn, as on a GPU.
int draw_any_level(float* logits, int levels, float temperature, float u) {
  int most = 0;
  for (int v = 1; v < levels; ++v) most = logits[v] > logits[most] ? v : most;
  if (temperature == 0) return most;
  exponentiate(logits, levels, logits[most], temperature);
  double total = 0, cumulative = 0;
  for (int v = 0; v < levels; ++v) total += logits[v];
  int last = most;
  for (int v = 0; v < levels; ++v) {
    cumulative += logits[v];
    if (cumulative > u * total) return v;
    if (logits[v] > 0) last = v;
  }
  return last;
}

// Returns the first level whose cumulative probability exceeds u. Overwrites the logits with unnormalised
// probabilities. It adds up blocks of levels first, and then looks for the level in one block only.
int draw_level(float* logits, int levels, float temperature, float u) {
  const float most = largest_logit(logits, levels);
  if (most != most) return draw_any_level(logits, levels, temperature, u);
  if (temperature == 0) {
    int level = 0;
    while (logits[level] != most) ++level;
    return level;
  }
  exponentiate(logits, levels, most, temperature);
  double sums[kMostLevels / kLevelsInBlock], total = 0, cumulative = 0;
  int last_block = 0;  // with a level that can be drawn
  for (int block = 0; block * kLevelsInBlock < levels; ++block) {
    const int begin = block * kLevelsInBlock;
    sums[block] = block_sum(logits + begin, smaller(kLevelsInBlock, levels - begin));
    total += sums[block];
    if (sums[block] > 0) last_block = block;
  }
  const double threshold = u * total;
  int block = 0;
  while (block < last_block && cumulative + sums[block] <= threshold) cumulative += sums[block++];
  // If rounding makes all sums in the block too small, its last level that can be drawn is taken.
  const int begin = block * kLevelsInBlock;
  int last = begin;
  for (int v = begin; v < smaller(levels, begin + kLevelsInBlock); ++v) {
    cumulative += logits[v];
    if (cumulative > threshold) return v;
    if (logits[v] > 0) last = v;
  }
  return last;
}

// The logits of a block of pixels, in whole cache lines.
int64_t block_logits(const HeadShape& shape) { return round_up(int64_t{kBlockPixels} * shape.levels, 16); }

// Computes the logits of `count` pixels of one series of the front, from `x` on.
void compute_logits(const SampleFront& op, const Element* x, int64_t stride, int count, float* logits) {
  const MaskedConv2dShape head = op.shape.convolution();
  const PanelLayout layout(head, Direction::kForward);
  const int levels = op.shape.levels, channel = op.region.group;
  for (int index = layout.first_panel(channel); index < layout.first_panel(channel + 1); ++index) {
    const Panel panel = layout.panel(index);
    const TapList taps(layout, panel, 0);
    const BlockOutput<float> out = {logits + panel.first - channel * levels,
                                    levels,
                                    op.bias + panel.first,
                                    nullptr,
                                    nullptr,
                                    panel.channels,
                                    false};
    taps.run(ConvolveBlocks<float>::get(count, panel.vectors), x, stride,
             static_cast<const Factor<Element>*>(op.packed) + layout.packed_offset(panel), 0, out);
  }
}

// Replaces logits by none + guidance * (logits - none), where `none` are those under no condition.
void guide(float* logits, const float* none, int64_t count, float guidance) {
  const Vector factor = splat(guidance);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, count - i));
    const Vector base = load_partial(none + i, lanes);
    store_partial(logits + i, base + factor * (load_partial(logits + i, lanes) - base), lanes);
  }
}

// Computes the logits of pixels [begin, begin + count) of one series of the front, and draws their levels.
// With guidance, `logits` has room for those of two blocks.
void sample_pixels(const SampleFront& op, const RegionPixels& front, int64_t series, int begin, int count,
                   float* logits) {
  const int channels = op.shape.channels, levels = op.shape.levels, channel = op.region.group;
  const int64_t first = front.padded_pixel(series, begin), stride = front.stride() * op.shape.c;
  // From an image to the same image under no condition.
  const int64_t to_none = op.region.count(op.shape.n, op.shape.h, op.shape.w);
  const auto* x = static_cast<const Element*>(op.x);
  compute_logits(op, x + first * op.shape.c, stride, count, logits);
  if (op.guidance) {
    float* none = logits + block_logits(op.shape);
    compute_logits(op, x + (first + to_none) * op.shape.c, stride, count, none);
    guide(logits, none, int64_t{count} * levels, *op.guidance);
  }
  for (int index = begin; index < begin + count; ++index, logits += levels) {
    const int64_t pixel = front.pixel(series, index), at = pixel * channels + channel;
    if (op.logits) std::memcpy(op.logits + at * levels, logits, sizeof(float) * levels);
    if (!(op.known && op.known[pixel])) {
      op.level[at] = static_cast<uint8_t>(draw_level(logits, levels, *op.temperature, op.uniforms[at]));
    }
    const Element value = to_element(static_cast<float>(op.level[at]) / static_cast<float>(levels - 1));
    const int64_t padded = front.padded_pixel(series, index);
    auto* image = static_cast<Element*>(op.image) + channel;
    image[padded * channels] = value;
    if (op.guidance) image[(padded + to_none) * channels] = value;
  }
}

// The networks that a draw combines.
int networks(const SampleFront& op) { return op.guidance ? 2 : 1; }

}  // namespace

int64_t workspace(const SampleFront& op, int threads) {
  return threads * networks(op) * block_logits(op.shape) * int64_t{sizeof(float)};
}

void run(const SampleFront& op, Context& context) {
  const RegionPixels front(op.region, op.shape.n, op.shape.h, op.shape.w,
                           add_fronts(*op.position, op.region.ahead));
  if (front.empty()) return;
  const int64_t scratch = networks(op) * block_logits(op.shape);
  // What takes less time than to wake a thread is not shared.
  const int64_t values = networks(op) * front.count() * op.shape.levels;
  const int64_t shares = values < kLeastShared ? 1 : context.pool.threads();
  // With fewer series than threads, a series is split as well, into blocks as even as possible.
  const int64_t series = front.series(), length = front.length();
  const int64_t fair = series >= shares ? kBlockPixels : divide_up(length * series, shares);
  const int64_t blocks = divide_up(length, smaller<int64_t>(kBlockPixels, fair)), tasks = series * blocks;
  const int most = static_cast<int>(divide_up(length, blocks));
  context.pool.run(smaller<int64_t>(shares, tasks), [&](int64_t share, int thread) {
    float* logits = reinterpret_cast<float*>(context.workspace) + thread * scratch;
    const int64_t all = smaller<int64_t>(shares, tasks);
    for (int64_t task = share_begin(tasks, share, all); task < share_begin(tasks, share + 1, all); ++task) {
      const int begin = static_cast<int>(task % blocks) * most, count = smaller(most, front.length() - begin);
      if (count > 0) sample_pixels(op, front, task / blocks, begin, count, logits);
    }
  });
}

int64_t workspace(const NextFront&, int) { return 0; }
void run(const NextFront& op, Context&) { *op.position = add_fronts(*op.position, op.fronts); }

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
