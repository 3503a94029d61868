// Turns bytes into levels and into the network's input.
#include "element.h"
#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

int64_t workspace(const Quantise&, int) { return 0; }

void run(const Quantise& op, Context& context) {
  constexpr int32_t kChunk = 1 << 14;
  context.pool.run((int64_t{op.count} + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
    const int64_t begin = chunk * kChunk;
    const int64_t end = begin + kChunk < op.count ? begin + kChunk : op.count;
    auto* x = static_cast<Element*>(op.x);
    const float top = static_cast<float>(op.levels - 1);
    for (int64_t i = begin; i < end; ++i) {
      const int32_t level = op.bytes[i] * op.levels / 256;
      op.level[i] = static_cast<uint8_t>(level);
      x[i] = to_element(static_cast<float>(level) / top);
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
