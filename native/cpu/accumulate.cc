// Adds two tensors, and masks the sum by the output of a ReLU.
#include "element.h"
#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

void accumulate_range(const Accumulate& op, int64_t begin, int64_t end) {
  const auto *a = static_cast<const Element*>(op.a), *b = static_cast<const Element*>(op.b);
  const auto* relu_output = static_cast<const Element*>(op.relu_output);
  for (int64_t i = begin; i < end; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, end - i));
    Vector sum = load_partial(a + i, lanes);
    if (b) sum += load_partial(b + i, lanes);
    if (relu_output) sum = load_partial(relu_output + i, lanes) <= Vector{} ? Vector{} : sum;
    store_partial(static_cast<Element*>(op.y) + i, sum, lanes);
  }
}

}  // namespace

int64_t workspace(const Accumulate&, int) { return 0; }

void run(const Accumulate& op, Context& context) {
  constexpr int64_t kChunk = 1 << 14;
  context.pool.run(divide_up(op.count, kChunk), [&](int64_t task, int) {
    accumulate_range(op, task * kChunk, smaller<int64_t>(op.count, (task + 1) * kChunk));
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
