// Computes the gate tanh(a) * sigmoid(b) of neighbouring channels (a, b), and its gradient.
#include <utility>

#include "condition.h"

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

// Loads x, and adds the condition if there is one.
template <bool kConditional>
Halves load_halves(const Element* x, const Element* condition, int gates) {
  const int low_lanes = smaller(2 * gates, kLanes), high_lanes = larger(0, 2 * gates - kLanes);
  Vector low = load_partial(x, low_lanes), high = load_partial(x + kLanes, high_lanes);
  if constexpr (kConditional) {
    low += load_partial(condition, low_lanes);
    high += load_partial(condition + kLanes, high_lanes);
  }
  return separate(low, high, Lanes());
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

// Calls body(first gate, gates, halves) for vectors of gates. The halves are those of x + condition.
template <bool kConditional, class Body>
__attribute__((always_inline)) inline void for_each_vector(const Element* x, const Condition& condition,
                                                           int64_t gates, const Body& body) {
  int64_t at = 0;  // in the condition
  for (int64_t i = 0; i < gates; i += kLanes) {
    const int lanes = static_cast<int>(smaller<int64_t>(kLanes, gates - i));
    body(i, lanes, load_halves<kConditional>(x + 2 * i, condition.values + at, lanes));
    if constexpr (kConditional) {
      at += 2 * kLanes;
      if (at == condition.period) at = 0;
    }
  }
}

// One function serves whole images and regions, so that both have the same bits.
template <bool kConditional>
__attribute__((noinline)) void gate_range(const Element* x, const Condition& condition, Element* y,
                                          int64_t gates) {
  for_each_vector<kConditional>(x, condition, gates, [&](int64_t i, int lanes, Halves halves) {
    const Gate gate(halves);
    store_partial(y + i, gate.tanh * gate.sigmoid, lanes);
  });
}

template <bool kConditional>
void gate_gradient_range(const Element* x, const Condition& condition, const Element* grad_y, Element* grad_x,
                         int64_t gates) {
  for_each_vector<kConditional>(x, condition, gates, [&](int64_t i, int lanes, Halves halves) {
    const Gate gate(halves);
    const Vector g = load_partial(grad_y + i, lanes);
    store_halves(grad_x + 2 * i, {g * gate.sigmoid * gate.tanh_slope, g * gate.tanh * gate.sigmoid_slope},
                 lanes);
  });
}

// Calls body(first gate, gates, condition) for ranges of whole images.
template <class Op, class Body>
void for_each_gate_range(const Op& op, Context& context, const Body& body) {
  for_each_range(context, op.n, int64_t{op.h} * op.w, int64_t{2} * op.c, op.condition, op.per_pixel,
                 2 * kLanes, 2 * kChunk, [&](int64_t begin, int64_t count, const Condition& condition) {
                   body(begin / 2, count / 2, condition);
                 });
}

}  // namespace

int64_t workspace(const GatedActivation&, int) { return 0; }

void run(const GatedActivation& op, Context& context) {
  const auto* x = static_cast<const Element*>(op.x);
  const auto* condition = static_cast<const Element*>(op.condition);
  auto* y = static_cast<Element*>(op.y);
  const auto range = condition ? gate_range<true> : gate_range<false>;
  if (!op.region.is_image()) {
    for_each_region_pixel(op, context, kChunk, [&](int64_t first, int64_t in_condition, int64_t gates) {
      range(x + 2 * first, {condition ? condition + 2 * in_condition : nullptr, 2 * gates}, y + first, gates);
    });
    return;
  }
  for_each_gate_range(op, context, [&](int64_t begin, int64_t gates, const Condition& part) {
    range(x + 2 * begin, part, y + begin, gates);
  });
}

int64_t workspace(const GatedActivationBackward&, int) { return 0; }

void run(const GatedActivationBackward& op, Context& context) {
  const auto *x = static_cast<const Element*>(op.x), *grad_y = static_cast<const Element*>(op.grad_y);
  auto* grad_x = static_cast<Element*>(op.grad_x);
  const auto range = op.condition ? gate_gradient_range<true> : gate_gradient_range<false>;
  for_each_gate_range(op, context, [&](int64_t begin, int64_t gates, const Condition& condition) {
    range(x + 2 * begin, condition, grad_y + begin, grad_x + 2 * begin, gates);
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
