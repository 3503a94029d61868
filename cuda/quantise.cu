// Turns bytes into levels and into the network's input, one element per thread.
#include "grid.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

template <class T>
__global__ void __launch_bounds__(kFlatThreads)
    quantise_kernel(const uint8_t* __restrict__ bytes, uint8_t* __restrict__ level, T* __restrict__ x,
                    int64_t count, int levels) {
  for (int64_t at = flat_index(); at < count; at += flat_stride()) {
    const int value = bytes[at] * levels / 256;
    level[at] = static_cast<uint8_t>(value);
    x[at] = from_float<T>(static_cast<float>(value) / static_cast<float>(levels - 1));
  }
}

}  // namespace

int64_t workspace(const Quantise&, const Gpu&) { return 0; }

void run(const Quantise& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    LAUNCH(quantise_kernel<T>, flat_blocks(op.count, launch), kFlatThreads, 0, launch.stream)
    (op.bytes, op.level, static_cast<T*>(op.x), op.count, op.levels);
  });
}

}  // namespace pixelcnn::cuda
