// Adds two tensors and masks the sum by the output of a ReLU, one vector of 16 bytes per thread.
#include "launch.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256;

// Sums are computed in float32 and rounded once. Vectors can be loaded, because an op's tensors begin at
// multiples of 256 bytes.
template <class T>
__global__ void __launch_bounds__(kThreads)
    accumulate_kernel(const T* a, const T* b, const T* relu_output, T* y, int count) {
  constexpr int kVector = 16 / sizeof(T);
  const auto masked_sum = [&](T from_a, T from_b, T output) {
    float sum = to_float(from_a);
    if (b != nullptr) sum += to_float(from_b);
    if (relu_output != nullptr && to_float(output) <= 0) sum = 0;
    return from_float<T>(sum);
  };
  const int64_t begin = kVector * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (begin + kVector <= count) {
    Vector<T> sum = *reinterpret_cast<const Vector<T>*>(a + begin), other = {}, output = {};
    if (b != nullptr) other = *reinterpret_cast<const Vector<T>*>(b + begin);
    if (relu_output != nullptr) output = *reinterpret_cast<const Vector<T>*>(relu_output + begin);
    for (int i = 0; i < kVector; ++i) sum.at[i] = masked_sum(sum.at[i], other.at[i], output.at[i]);
    *reinterpret_cast<Vector<T>*>(y + begin) = sum;
  } else {
    for (int64_t i = begin; i < count; ++i) {
      y[i] = masked_sum(a[i], b != nullptr ? b[i] : T{}, relu_output != nullptr ? relu_output[i] : T{});
    }
  }
}

}  // namespace

int64_t workspace(const Accumulate&, const Gpu&) { return 0; }

void run(const Accumulate& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const auto blocks = static_cast<unsigned>(blocks_of(op.count, kThreads * int64_t{16 / sizeof(T)}));
    LAUNCH(accumulate_kernel<T>, blocks, kThreads, 0, launch.stream)
    (static_cast<const T*>(op.a), static_cast<const T*>(op.b), static_cast<const T*>(op.relu_output),
     static_cast<T*>(op.y), op.count);
  });
}

}  // namespace pixelcnn::cuda
