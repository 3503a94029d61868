// Adds up activations over the pixels of an image.
#include "element.h"
#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

// The pixels of a chunk are added first, and then the chunks: rounding errors grow with the longer of both
// lists only.
constexpr int64_t kChunkPixels = 64;
constexpr int kChannels = 4 * kLanes;  // of one task

// Adds up `channels` channels, at most those of kVectors vectors. The lanes behind them read what follows in
// memory and are dropped; only at the last pixels there may be nothing.
template <int kVectors>
void sum_block(const Element* x, int64_t pixels, int64_t stride, int channels, Element* y) {
  const int64_t whole = pixels - divide_up(kVectors * kLanes - channels, stride);
  Vector sum[kVectors] = {};
  for (int64_t begin = 0; begin < pixels; begin += kChunkPixels) {
    Vector part[kVectors] = {};
    for (int64_t pixel = begin; pixel < smaller(pixels, begin + kChunkPixels); ++pixel) {
      PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) {
        const Element* values = x + pixel * stride + v * kLanes;
        part[v] += pixel < whole ? load(values) : load_partial(values, larger(0, channels - v * kLanes));
      }
    }
    PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) sum[v] += part[v];
  }
  for (int v = 0; v < kVectors; ++v) store_partial(y + v * kLanes, sum[v], larger(0, channels - v * kLanes));
}

}  // namespace

int64_t workspace(const SumPixels&, int) { return 0; }

void run(const SumPixels& op, Context& context) {
  const int64_t blocks = divide_up(op.c, kChannels);
  context.pool.run(op.n * blocks, [&](int64_t task, int) {
    const int64_t image = task / blocks, first = task % blocks * kChannels;
    const auto* x = static_cast<const Element*>(op.x) + image * op.pixels * op.c + first;
    auto* y = static_cast<Element*>(op.y) + image * op.c + first;
    const int channels = static_cast<int>(smaller<int64_t>(kChannels, op.c - first));
    constexpr decltype(&sum_block<1>) by_vectors[] = {sum_block<1>, sum_block<2>, sum_block<3>, sum_block<4>};
    by_vectors[divide_up(channels, kLanes) - 1](x, op.pixels, op.c, channels, y);
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
