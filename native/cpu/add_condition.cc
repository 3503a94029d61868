// Adds a condition to activations, and applies a ReLU to the sum.
#include "condition.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

constexpr int64_t kChunk = 1 << 14;  // values of one task

// One function serves whole images and regions, so that both have the same bits.
__attribute__((noinline)) void add_range(const Element* x, Condition condition, bool relu, Element* y,
                                         int64_t count) {
  int64_t at = 0;  // in the condition
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, count - i));
    Vector sum = load_partial(x + i, lanes) + load_partial(condition.values + at, lanes);
    if (relu) sum = sum < Vector{} ? Vector{} : sum;
    store_partial(y + i, sum, lanes);
    at += kLanes;
    if (at == condition.period) at = 0;
  }
}

}  // namespace

int64_t workspace(const AddCondition&, int) { return 0; }

void run(const AddCondition& op, Context& context) {
  const auto* x = static_cast<const Element*>(op.x);
  const auto* condition = static_cast<const Element*>(op.condition);
  auto* y = static_cast<Element*>(op.y);
  if (!op.region.is_image()) {
    for_each_region_pixel(op, context, kChunk, [&](int64_t first, int64_t in_condition, int64_t channels) {
      add_range(x + first, {condition + in_condition, channels}, op.relu, y + first, channels);
    });
    return;
  }
  for_each_range(context, op.n, int64_t{op.h} * op.w, op.c, condition, op.per_pixel, kLanes, kChunk,
                 [&](int64_t begin, int64_t count, Condition part) {
                   add_range(x + begin, part, op.relu, y + begin, count);
                 });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
