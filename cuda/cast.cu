// Rounds float32 values to the element type of activations, one vector of 16 bytes per thread.
#include "launch.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256;

// Vectors can be moved, because an op's tensors begin at multiples of 256 bytes.
template <class T>
__global__ void __launch_bounds__(kThreads) cast_kernel(const float* x, T* y, int count) {
  constexpr int kVector = 16 / sizeof(T);
  const int64_t begin = kVector * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (begin + kVector <= count) {
    const auto values = *reinterpret_cast<const Neighbours<float, kVector>*>(x + begin);
    Vector<T> rounded;
    for (int i = 0; i < kVector; ++i) rounded.at[i] = from_float<T>(values.at[i]);
    *reinterpret_cast<Vector<T>*>(y + begin) = rounded;
  } else {
    for (int64_t i = begin; i < count; ++i) y[i] = from_float<T>(x[i]);
  }
}

}  // namespace

int64_t workspace(const Cast&, const Gpu&) { return 0; }

void run(const Cast& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const auto blocks = static_cast<unsigned>(blocks_of(op.count, kThreads * int64_t{16 / sizeof(T)}));
    LAUNCH(cast_kernel<T>, blocks, kThreads, 0, launch.stream)(op.x, static_cast<T*>(op.y), op.count);
  });
}

}  // namespace pixelcnn::cuda
