// Computes the gate tanh(a) * sigmoid(b) of neighbouring channels (a, b), and its gradient; a condition may
// be added to both first. The halves of a gate lie side by side, so one thread reads both with one access.
#include <cstddef>
#include <type_traits>

#include "pixel_channels.h"
#include "region.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = kFlatThreads;

// tanh and sigmoid of the two halves, and their derivatives.
struct Gate {
  float tanh, sigmoid;
  float tanh_slope, sigmoid_slope;
};

// If results are rounded to 16 bits, the fast instructions are exact enough.
template <class T>
__device__ inline float exponential(float x) {
  return sizeof(T) == 2 ? fast_exp2(1.44269504f * x) : expf(x);
}
template <class T>
__device__ inline float reciprocal(float x) {
  return sizeof(T) == 2 ? fast_reciprocal(x) : 1 / x;
}

// e^-|x| never overflows, and 4 e^-2|a| / (1 + e^-2|a|)^2 is exact where 1 - tanh^2 would cancel. Every sum
// is a single rounded operation, which the compiler cannot join with another one, so that a gate has the
// same bits in every kernel.
template <class T>
__device__ inline Gate gate_of(float a, float b) {
  const float ea = exponential<T>(-2 * fabsf(a)), eb = exponential<T>(-fabsf(b));
  const float ra = reciprocal<T>(__fadd_rn(1, ea)), rb = reciprocal<T>(__fadd_rn(1, eb));
  // (1 - ea) / (1 + ea) loses bits near 0, so a polynomial takes its place there (Cephes, tanhf).
  const float square = a * a;
  float p = -5.70498872745e-3f;
  p = fmaf(p, square, 2.06390887954e-2f);
  p = fmaf(p, square, -5.37397155531e-2f);
  p = fmaf(p, square, 1.33314422036e-1f);
  p = fmaf(p, square, -3.33332819422e-1f);
  const float near = fmaf(p * square, a, a), far = __fadd_rn(1, -ea) * ra;
  return {.tanh = square < 0.390625f ? near : copysignf(far, a),
          .sigmoid = b < 0 ? eb * rb : rb,
          .tanh_slope = 4 * ea * ra * ra,
          .sigmoid_slope = eb * rb * rb};
}

// The number of gates whose halves fill the 16 bytes that one access can move.
template <class T>
constexpr int kVectorGates = 8 / sizeof(T);

// The halves of neighbouring gates, to which a condition may be added. That sum is not rounded to the element
// type. The condition is a pointer, or the constant nullptr.
template <class T, int gates, class Condition>
class Halves {
 public:
  __device__ Halves(const T* x, Condition condition) : x_(load(x)) {
    if constexpr (kConditional) condition_ = load(condition);
  }
  __device__ Gate gate(int i) const { return gate_of<T>(half(2 * i), half(2 * i + 1)); }

 private:
  using Group = Neighbours<T, 2 * gates>;
  static constexpr bool kConditional = !std::is_same_v<Condition, std::nullptr_t>;

  __device__ static Group load(const T* from) { return *reinterpret_cast<const Group*>(from); }
  __device__ float half(int i) const {
    if constexpr (kConditional) return __fadd_rn(to_float(x_.at[i]), to_float(condition_.at[i]));
    return to_float(x_.at[i]);
  }

  Group x_, condition_;
};

template <class T, int gates, class Condition>
__device__ inline void compute_gates(const T* x, Condition condition, T* y) {
  const Halves<T, gates, Condition> halves(x, condition);
  Neighbours<T, gates> out;
#pragma unroll
  for (int i = 0; i < gates; ++i) {
    const Gate gate = halves.gate(i);
    out.at[i] = from_float<T>(gate.tanh * gate.sigmoid);
  }
  *reinterpret_cast<Neighbours<T, gates>*>(y) = out;
}

template <class T, int gates, class Condition>
__device__ inline void compute_gradients(const T* x, Condition condition, const T* grad_y, T* grad_x) {
  const Halves<T, gates, Condition> halves(x, condition);
  const auto grads = *reinterpret_cast<const Neighbours<T, gates>*>(grad_y);
  Neighbours<T, 2 * gates> out;
#pragma unroll
  for (int i = 0; i < gates; ++i) {
    const Gate gate = halves.gate(i);
    const float grad = to_float(grads.at[i]);
    out.at[2 * i] = from_float<T>(grad * gate.sigmoid * gate.tanh_slope);
    out.at[2 * i + 1] = from_float<T>(grad * gate.tanh * gate.sigmoid_slope);
  }
  *reinterpret_cast<Neighbours<T, 2 * gates>*>(grad_x) = out;
}

// Vectors can be moved, because an op's tensors begin at multiples of 256 bytes.
template <class T>
__global__ void __launch_bounds__(kThreads) gate_images(const T* x, T* y, int64_t count) {
  constexpr int kGates = kVectorGates<T>;
  const int64_t begin = kGates * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (begin + kGates <= count) {
    compute_gates<T, kGates>(x + 2 * begin, nullptr, y + begin);
  } else {
    for (int64_t i = begin; i < count; ++i) compute_gates<T, 1>(x + 2 * i, nullptr, y + i);
  }
}

// Computes the channels [first, end) of c. Each warp takes one pixel, and each lane `gates` neighbours.
template <class T, int gates, class Pixels>
__global__ void __launch_bounds__(kThreads)
    gate_region(const T* x, T* y, Pixels pixels, int c, int first, int end) {
  pixels.begin();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t index = int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
  if (index >= pixels.count()) return;
  const int64_t pixel = pixels.pixel(index) * c;
  for (int channel = first + gates * lane; channel < end; channel += gates * 32)
    compute_gates<T, gates>(x + 2 * (pixel + channel), nullptr, y + pixel + channel);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gate_gradient(const T* x, const T* grad_y, T* grad_x, int64_t count) {
  constexpr int kGates = kVectorGates<T>;
  const int64_t begin = kGates * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (begin + kGates <= count) {
    compute_gradients<T, kGates>(x + 2 * begin, nullptr, grad_y + begin, grad_x + 2 * begin);
  } else {
    for (int64_t i = begin; i < count; ++i)
      compute_gradients<T, 1>(x + 2 * i, nullptr, grad_y + i, grad_x + 2 * i);
  }
}

// A condition has a row for each image or for each pixel, so these kernels share out the channels of pixels.
template <class T, int gates, class Pixels>
__global__ void __launch_bounds__(kThreads)
    conditional_gate(const T* x, Condition<T> condition, T* y, Pixels pixels,
                     PixelChannels<gates> pixel_channels, int c) {
  pixels.begin();
  pixel_channels.for_own(pixels.count(), [&](int index, int channel) {
    const int64_t at = pixels.pixel(index) * c + channel;
    compute_gates<T, gates>(x + 2 * at, condition.row(pixels, index, 2 * c) + 2 * channel, y + at);
  });
}

template <class T, int gates>
__global__ void __launch_bounds__(kThreads)
    conditional_gate_gradient(const T* x, Condition<T> condition, const T* grad_y, T* grad_x,
                              WholeImages pixels, PixelChannels<gates> pixel_channels, int c) {
  pixel_channels.for_own(pixels.count(), [&](int index, int channel) {
    const int64_t at = pixels.pixel(index) * c + channel;
    compute_gradients<T, gates>(x + 2 * at, condition.row(pixels, index, 2 * c) + 2 * channel, grad_y + at,
                                grad_x + 2 * at);
  });
}

template <class T>
unsigned blocks_of_gates(int64_t count) {
  return static_cast<unsigned>(blocks_of(count, int64_t{kThreads} * kVectorGates<T>));
}

template <class T, class Pixels>
void launch_region(const GatedActivation& op, const Launch& launch) {
  const auto [first, end] = channels_of(op.region.group, op.c, op.channel_groups);
  const Pixels pixels(op.region, op.n, op.h, op.w, op.position);
  with_neighbours<kVectorGates<T>>(op.c, {first, end}, [&]<int gates>() {
    LAUNCH((gate_region<T, gates, Pixels>), static_cast<unsigned>(blocks_of(pixels.most(), kThreads / 32)),
           kThreads, 0, launch.stream)
    (static_cast<const T*>(op.x), static_cast<T*>(op.y), pixels, op.c, first, end);
  });
}

template <class T>
void launch_with_condition(const GatedActivation& op, const Launch& launch) {
  const ChannelRange channels = channels_of(op.region.group, op.c, op.channel_groups);
  with_pixels(op.region, op.n, op.h, op.w, op.position, [&]<class Pixels>(const Pixels& pixels) {
    with_neighbours<kVectorGates<T>>(op.c, channels, [&]<int gates>() {
      const PixelChannels<gates> pixel_channels(channels);
      LAUNCH((conditional_gate<T, gates, Pixels>), pixel_channels.blocks(pixels.most()), kThreads, 0,
             launch.stream)
      (static_cast<const T*>(op.x), Condition<T>(op), static_cast<T*>(op.y), pixels, pixel_channels, op.c);
    });
  });
}

template <class T>
void launch_with_condition(const GatedActivationBackward& op, const Launch& launch) {
  const WholeImages pixels(op.n, op.h, op.w);
  const ChannelRange channels = {0, op.c};
  with_neighbours<kVectorGates<T>>(op.c, channels, [&]<int gates>() {
    const PixelChannels<gates> pixel_channels(channels);
    LAUNCH((conditional_gate_gradient<T, gates>), pixel_channels.blocks(pixels.most()), kThreads, 0,
           launch.stream)
    (static_cast<const T*>(op.x), Condition<T>(op), static_cast<const T*>(op.grad_y),
     static_cast<T*>(op.grad_x), pixels, pixel_channels, op.c);
  });
}

}  // namespace

int64_t workspace(const GatedActivation&, const Gpu&) { return 0; }

void run(const GatedActivation& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    if (op.condition != nullptr) return launch_with_condition<T>(op, launch);
    if (op.region.pixels == Region::Pixels::kFront) return launch_region<T, FrontPixels>(op, launch);
    if (op.region.pixels == Region::Pixels::kRow) return launch_region<T, RowPixels>(op, launch);
    const int64_t gates = int64_t{op.n} * op.h * op.w * op.c;
    LAUNCH(gate_images<T>, blocks_of_gates<T>(gates), kThreads, 0, launch.stream)
    (static_cast<const T*>(op.x), static_cast<T*>(op.y), gates);
  });
}

int64_t workspace(const GatedActivationBackward&, const Gpu&) { return 0; }

void run(const GatedActivationBackward& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    if (op.condition != nullptr) return launch_with_condition<T>(op, launch);
    const int64_t gates = int64_t{op.n} * op.h * op.w * op.c;
    LAUNCH(gate_gradient<T>, blocks_of_gates<T>(gates), kThreads, 0, launch.stream)
    (static_cast<const T*>(op.x), static_cast<const T*>(op.grad_y), static_cast<T*>(op.grad_x), gates);
  });
}

}  // namespace pixelcnn::cuda
