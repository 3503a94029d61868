// Computes the gate tanh(a) * sigmoid(b) of neighbouring channels (a, b), and its gradient. The halves of a
// gate lie side by side, so one thread reads both with one access.
#include "region.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256;

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

// Neighbours in memory that one access moves.
template <class T, int count>
struct alignas(count * sizeof(T)) Neighbours {
  T at[count];
};

template <class T, int gates>
__device__ inline void compute_gates(const T* x, T* y) {
  const auto halves = *reinterpret_cast<const Neighbours<T, 2 * gates>*>(x);
  Neighbours<T, gates> out;
#pragma unroll
  for (int i = 0; i < gates; ++i) {
    const Gate gate = gate_of<T>(to_float(halves.at[2 * i]), to_float(halves.at[2 * i + 1]));
    out.at[i] = from_float<T>(gate.tanh * gate.sigmoid);
  }
  *reinterpret_cast<Neighbours<T, gates>*>(y) = out;
}

template <class T, int gates>
__device__ inline void compute_gradients(const T* x, const T* grad_y, T* grad_x) {
  const auto halves = *reinterpret_cast<const Neighbours<T, 2 * gates>*>(x);
  const auto grads = *reinterpret_cast<const Neighbours<T, gates>*>(grad_y);
  Neighbours<T, 2 * gates> out;
#pragma unroll
  for (int i = 0; i < gates; ++i) {
    const Gate gate = gate_of<T>(to_float(halves.at[2 * i]), to_float(halves.at[2 * i + 1]));
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
    compute_gates<T, kGates>(x + 2 * begin, y + begin);
  } else {
    for (int64_t i = begin; i < count; ++i) compute_gates<T, 1>(x + 2 * i, y + i);
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
    compute_gates<T, gates>(x + 2 * (pixel + channel), y + pixel + channel);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gate_gradient(const T* x, const T* grad_y, T* grad_x, int64_t count) {
  constexpr int kGates = kVectorGates<T>;
  const int64_t begin = kGates * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (begin + kGates <= count) {
    compute_gradients<T, kGates>(x + 2 * begin, grad_y + begin, grad_x + 2 * begin);
  } else {
    for (int64_t i = begin; i < count; ++i) compute_gradients<T, 1>(x + 2 * i, grad_y + i, grad_x + 2 * i);
  }
}

template <class T>
unsigned blocks_of_gates(int64_t count) {
  return static_cast<unsigned>(blocks_of(count, int64_t{kThreads} * kVectorGates<T>));
}

template <class T, class Pixels>
void launch_region(const GatedActivation& op, const Launch& launch) {
  const bool all = op.region.group == Region::kAllGroups;
  const int first = all ? 0 : group_begin(op.region.group, op.c, op.channel_groups),
            end = all ? op.c : group_begin(op.region.group + 1, op.c, op.channel_groups);
  const Pixels pixels(op.region, op.n, op.h, op.w, op.position);
  const auto launch_kernel = [&]<int gates>() {
    LAUNCH((gate_region<T, gates, Pixels>), static_cast<unsigned>(blocks_of(pixels.most(), kThreads / 32)),
           kThreads, 0, launch.stream)
    (static_cast<const T*>(op.x), static_cast<T*>(op.y), pixels, op.c, first, end);
  };
  const bool whole_vectors = (op.c | first | end) % kVectorGates<T> == 0;
  if (whole_vectors)
    launch_kernel.template operator()<kVectorGates<T>>();
  else
    launch_kernel.template operator()<1>();
}

}  // namespace

int64_t workspace(const GatedActivation&, const Gpu&) { return 0; }

void run(const GatedActivation& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
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
    LAUNCH(gate_gradient<T>, blocks_of_gates<T>(op.count), kThreads, 0, launch.stream)
    (static_cast<const T*>(op.x), static_cast<const T*>(op.grad_y), static_cast<T*>(op.grad_x), op.count);
  });
}

}  // namespace pixelcnn::cuda
