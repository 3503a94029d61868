// Computes the gate tanh(a) * sigmoid(b) of neighbouring channels (a, b), and its gradient.
#include <utility>

#include "element.h"
#include "kernels.h"
#include "region.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

constexpr int64_t kChunk = 1 << 12;  // gates of one task

// The two halves of kLanes gates.
struct Halves {
  Vector a, b;
};

template <size_t... lane>
Halves separate(Vector low, Vector high, std::index_sequence<lane...>) {
  return {__builtin_shufflevector(low, high, (2 * lane)...),
          __builtin_shufflevector(low, high, (2 * lane + 1)...)};
}

template <size_t... lane>
Halves interleave(Vector a, Vector b, std::index_sequence<lane...>) {
  return {__builtin_shufflevector(a, b, (lane / 2 + lane % 2 * kLanes)...),
          __builtin_shufflevector(a, b, ((lane + kLanes) / 2 + lane % 2 * kLanes)...)};
}

using Lanes = std::make_index_sequence<kLanes>;

Halves load_halves(const Element* x, int gates) {
  return separate(load_partial(x, smaller(2 * gates, kLanes)),
                  load_partial(x + kLanes, larger(0, 2 * gates - kLanes)), Lanes());
}

void store_halves(Element* x, Halves halves, int gates) {
  const Halves lanes = interleave(halves.a, halves.b, Lanes());
  store_partial(x, lanes.a, smaller(2 * gates, kLanes));
  store_partial(x + kLanes, lanes.b, larger(0, 2 * gates - kLanes));
}

Vector negative_magnitude(Vector x) { return x < Vector{} ? x : -x; }

// tanh and sigmoid of the two halves, and their derivatives. e^-|x| never overflows, and 4e^-2|a| / (1 +
// e^-2|a|)^2 is exact where 1 - tanh^2 would cancel.
struct Gate {
  Vector tanh, sigmoid;
  Vector tanh_slope, sigmoid_slope;

  explicit Gate(Halves in) {
    const Vector one = splat(1), a = in.a, b = in.b;
    const Vector ea = exp_negative(negative_magnitude(a) * splat(2)),
                 eb = exp_negative(negative_magnitude(b));
    const Vector ra = one / (one + ea), rb = one / (one + eb);
    // (1 - ea) / (1 + ea) loses bits near 0, so a polynomial takes its place there (Cephes, tanhf).
    const Vector square = a * a;
    Vector p = splat(-5.70498872745e-3f);
    p = p * square + splat(2.06390887954e-2f);
    p = p * square + splat(-5.37397155531e-2f);
    p = p * square + splat(1.33314422036e-1f);
    p = p * square + splat(-3.33332819422e-1f);
    const Vector near = p * square * a + a, far = (one - ea) * ra;
    tanh = square < splat(0.390625f) ? near : a < Vector{} ? -far : far;
    sigmoid = b < Vector{} ? eb * rb : rb;
    tanh_slope = splat(4) * ea * ra * ra;
    sigmoid_slope = eb * rb * rb;
  }
};

// One function serves whole images and regions, so that both have the same bits.
__attribute__((noinline)) void gate_range(const Element* x, Element* y, int64_t gates) {
  for (int64_t i = 0; i < gates; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, gates - i));
    const Gate gate(load_halves(x + 2 * i, lanes));
    store_partial(y + i, gate.tanh * gate.sigmoid, lanes);
  }
}

void gate_region(const GatedActivation& op, Context& context) {
  const RegionPixels region(op.region, op.n, op.h, op.w, add_fronts(*op.position, op.region.ahead));
  const bool all = op.region.group == Region::kAllGroups;
  const int first = all ? 0 : group_begin(op.region.group, op.c, op.channel_groups);
  const int end = all ? op.c : group_begin(op.region.group + 1, op.c, op.channel_groups);
  const int64_t pixels = region.count();
  const int64_t pixels_per_task = divide_up(kChunk, end - first);
  context.pool.run(divide_up(pixels, pixels_per_task), [&](int64_t task, int) {
    for (int64_t i = task * pixels_per_task; i < smaller(pixels, (task + 1) * pixels_per_task); ++i) {
      const int64_t pixel = region.padded_pixel(i / region.length(), static_cast<int>(i % region.length()));
      const int64_t at = pixel * op.c + first;
      gate_range(static_cast<const Element*>(op.x) + 2 * at, static_cast<Element*>(op.y) + at, end - first);
    }
  });
}

void gate_gradient_range(const GatedActivationBackward& op, int64_t begin, int64_t end) {
  const auto *x = static_cast<const Element*>(op.x), *grad_y = static_cast<const Element*>(op.grad_y);
  for (int64_t i = begin; i < end; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, end - i));
    const Gate gate(load_halves(x + 2 * i, lanes));
    const Vector g = load_partial(grad_y + i, lanes);
    store_halves(static_cast<Element*>(op.grad_x) + 2 * i,
                 {g * gate.sigmoid * gate.tanh_slope, g * gate.tanh * gate.sigmoid_slope}, lanes);
  }
}

}  // namespace

int64_t workspace(const GatedActivation&, int) { return 0; }

void run(const GatedActivation& op, Context& context) {
  if (!op.region.is_image()) return gate_region(op, context);
  const int64_t gates = int64_t{op.n} * op.h * op.w * op.c;
  context.pool.run(divide_up(gates, kChunk), [&](int64_t task, int) {
    const int64_t begin = task * kChunk;
    gate_range(static_cast<const Element*>(op.x) + 2 * begin, static_cast<Element*>(op.y) + begin,
               smaller(kChunk, gates - begin));
  });
}

int64_t workspace(const GatedActivationBackward&, int) { return 0; }

void run(const GatedActivationBackward& op, Context& context) {
  context.pool.run(divide_up(op.count, kChunk), [&](int64_t task, int) {
    gate_gradient_range(op, task * kChunk, smaller<int64_t>(op.count, (task + 1) * kChunk));
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
