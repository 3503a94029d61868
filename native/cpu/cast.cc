// Converts float32 values to activations.
#include "element.h"
#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

int64_t workspace(const Cast&, int) { return 0; }

void run(const Cast& op, Context& context) {
  constexpr int64_t kChunk = 1 << 14;
  auto* y = static_cast<Element*>(op.y);
  context.pool.run(divide_up(op.count, kChunk), [&](int64_t task, int) {
    const int64_t end = smaller<int64_t>(op.count, (task + 1) * kChunk);
    for (int64_t i = task * kChunk; i < end; i += kLanes) {
      const int lanes = static_cast<int>(smaller<int64_t>(kLanes, end - i));
      store_partial(y + i, load_partial(op.x + i, lanes), lanes);
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
