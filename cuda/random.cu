// Draws the uniform numbers of the sampler and of dynamic binarisation with Philox, one element per
// thread.
#include "../native/philox.h"
#include "grid.h"

namespace pixelcnn::cuda {

namespace {

__global__ void __launch_bounds__(kFlatThreads)
    random_uniform_kernel(const uint32_t* __restrict__ index, const uint32_t* __restrict__ random,
                          float* __restrict__ u, int64_t count, int values) {
  for (int64_t at = flat_index(); at < count; at += flat_stride()) {
    const PhiloxWords counter = {{index[at / values], static_cast<uint32_t>(at % values), 0, 0}};
    u[at] = uniform(philox(counter, random[0], random[1]).word[0]);
  }
}

__global__ void __launch_bounds__(kFlatThreads)
    binarise_kernel(const uint8_t* __restrict__ bytes, const uint32_t* __restrict__ index,
                    const uint32_t* __restrict__ random, uint8_t* __restrict__ out, int64_t count,
                    int pixels) {
  for (int64_t at = flat_index(); at < count; at += flat_stride()) {
    const PhiloxWords counter = {{index[at / pixels], static_cast<uint32_t>(at % pixels), random[2], 1}};
    const float u = uniform(philox(counter, random[0], random[1]).word[0]);
    out[at] = u < static_cast<float>(bytes[at]) / 255.0f ? 255 : 0;
  }
}

}  // namespace

int64_t workspace(const RandomUniform&, const Gpu&) { return 0; }

void run(const RandomUniform& op, const Launch& launch) {
  const int64_t count = int64_t{op.n} * op.values;
  LAUNCH(random_uniform_kernel, flat_blocks(count, launch), kFlatThreads, 0, launch.stream)
  (op.index, op.random, op.u, count, op.values);
}

int64_t workspace(const Binarise&, const Gpu&) { return 0; }

void run(const Binarise& op, const Launch& launch) {
  const int64_t count = int64_t{op.n} * op.pixels;
  LAUNCH(binarise_kernel, flat_blocks(count, launch), kFlatThreads, 0, launch.stream)
  (op.bytes, op.index, op.random, op.out, count, op.pixels);
}

}  // namespace pixelcnn::cuda
