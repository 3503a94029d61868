// Wavefront sampling: the pixels (i, j) with j + slope * i = t, in buffers that carry their own zero border.
//
// Pixels of a front lie at a constant distance in memory, so the micro-kernel of the direct convolution runs
// on them with another pixel stride and gives the same bits.
#include <cstring>

#include "kernels.h"
#include "masked_conv2d_taps.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// The pixels of one front: rows [first, first + count) of every image. Empty for a t outside the image.
class Front {
 public:
  Front(const FrontShape& shape, int h, int w, int t)
      : pad_(shape.pad), slope_(shape.slope), h_(h), w_(w), t_(t) {
    const int64_t last = int64_t{w} - 1 + int64_t{slope_} * (h - 1);
    if (t < 0 || t > last) return;
    first_ = t < w ? 0 : static_cast<int>(divide_up(int64_t{t} - w + 1, slope_));
    count_ = smaller(h - 1, t / slope_) + 1 - first_;
  }

  int count() const { return larger(0, count_); }
  int row(int position) const { return first_ + position; }
  int column(int position) const { return t_ - slope_ * row(position); }
  int pitch() const { return w_ + 2 * pad_; }
  int stride() const { return pitch() - slope_; }  // pixels from one position to the next
  int64_t pixel(int64_t image, int position) const {
    return (image * h_ + row(position)) * w_ + column(position);
  }
  int64_t padded_pixel(int64_t image, int position) const {
    return (image * (pad_ + h_) + pad_ + row(position)) * pitch() + pad_ + column(position);
  }

 private:
  int pad_, slope_, h_, w_, t_;
  int first_ = 0, count_ = 0;
};

// A sum beyond the largest int32 becomes negative: no front.
int32_t add_fronts(int32_t step, int32_t fronts) {
  return static_cast<int32_t>(static_cast<uint32_t>(step) + static_cast<uint32_t>(fronts));
}

// The share of thread `index` of `shares`.
int64_t share_begin(int64_t total, int64_t index, int64_t shares) { return total * index / shares; }

// First level whose cumulative probability exceeds u; the logits become unnormalised probabilities.
int draw_level(float* logits, int levels, float temperature, float u) {
  int most = 0;
  for (int v = 1; v < levels; ++v) most = logits[v] > logits[most] ? v : most;
  if (temperature == 0) return most;
  const Vector largest = splat(logits[most]), divisor = splat(temperature);
  for (int v = 0; v < levels; v += kLanes) {
    store_partial(logits + v, exp_negative((load_partial(logits + v, levels - v) - largest) / divisor),
                  levels - v);
  }
  double total = 0, cumulative = 0;
  for (int v = 0; v < levels; ++v) total += logits[v];
  const double threshold = u * total;
  int last = most;
  for (int v = 0; v < levels; ++v) {
    cumulative += logits[v];
    if (cumulative > threshold) return v;
    if (logits[v] > 0) last = v;
  }
  return last;  // u * total was rounded up to the total
}

// Computes the logits of positions [begin, begin + count) of one image, then draws them.
void sample_positions(const SampleFront& op, const Front& front, int64_t image, int begin, int count,
                      float* logits) {
  const MaskedConv2dShape head = op.head();
  const PanelLayout layout(head, Direction::kForward);
  const int levels = op.levels, channel = op.channel;
  for (int index = layout.first_panel(channel); index < layout.first_panel(channel + 1); ++index) {
    const Panel panel = layout.panel(index);
    const TapList taps(1, op.c, panel, 0, 1);
    const BlockOutput out = {logits + panel.first - channel * levels,
                             levels,
                             op.bias + panel.first,
                             nullptr,
                             panel.channels,
                             false};
    taps.run(ConvolveBlocks::get(count, panel.vectors),
             static_cast<const float*>(op.x) + front.padded_pixel(image, begin) * op.c,
             int64_t{front.stride()} * op.c, static_cast<const float*>(op.packed) + layout.offset(panel), 0,
             out);
  }
  for (int position = begin; position < begin + count; ++position, logits += levels) {
    const int64_t pixel = front.pixel(image, position), at = pixel * op.channels + channel;
    if (op.logits) std::memcpy(op.logits + at * levels, logits, sizeof(float) * levels);
    if (!(op.known && op.known[pixel])) {
      op.level[at] = static_cast<uint8_t>(draw_level(logits, levels, *op.temperature, op.uniforms[at]));
    }
    static_cast<float*>(op.image)[front.padded_pixel(image, position) * op.channels + channel] =
        static_cast<float>(op.level[at]) / static_cast<float>(levels - 1);
  }
}

}  // namespace

int64_t workspace(const MaskedConv2dFront&, int) { return 0; }

void run(const MaskedConv2dFront& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const Front front(op.front, shape.h, shape.w, add_fronts(*op.step, op.ahead));
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
  // With enough images a thread takes its share of them and keeps a panel in its cache over all of them; with
  // fewer, panels are tasks too.
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

int64_t workspace(const SampleFront& op, int threads) {
  return threads * round_up(int64_t{kBlockPixels} * op.levels, 16) * int64_t{sizeof(float)};
}

void run(const SampleFront& op, Context& context) {
  const Front front(op.front, op.h, op.w, add_fronts(*op.step, op.ahead));
  if (front.count() == 0) return;
  const int64_t shares = context.pool.threads(), scratch = round_up(int64_t{kBlockPixels} * op.levels, 16);
  // With fewer images than threads, an image's positions are split as well; blocks are as even as possible.
  const int64_t fair = op.n >= shares ? kBlockPixels : divide_up(int64_t{front.count()} * op.n, shares);
  const int64_t blocks = divide_up(front.count(), smaller<int64_t>(kBlockPixels, fair)),
                tasks = op.n * blocks;
  const int most = static_cast<int>(divide_up(front.count(), blocks));
  context.pool.run(smaller<int64_t>(shares, tasks), [&](int64_t share, int thread) {
    float* logits = reinterpret_cast<float*>(context.workspace) + thread * scratch;
    const int64_t all = smaller<int64_t>(shares, tasks);
    for (int64_t task = share_begin(tasks, share, all); task < share_begin(tasks, share + 1, all); ++task) {
      const int begin = static_cast<int>(task % blocks) * most, count = smaller(most, front.count() - begin);
      if (count > 0) sample_positions(op, front, task / blocks, begin, count, logits);
    }
  });
}

int64_t workspace(const NextFront&, int) { return 0; }
void run(const NextFront& op, Context&) { *op.step = add_fronts(*op.step, op.fronts); }

int64_t workspace(const Zero&, int) { return 0; }
void run(const Zero& op, Context& context) {
  constexpr int64_t kChunk = 1 << 16;
  context.pool.run(divide_up(op.count, kChunk), [&](int64_t task, int) {
    std::memset(op.y + task * kChunk, 0, sizeof(uint32_t) * smaller(kChunk, op.count - task * kChunk));
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
