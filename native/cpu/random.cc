// Draws the uniform numbers of the sampler and of dynamic binarisation with Philox.
#include "../philox.h"
#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

int64_t workspace(const RandomUniform&, int) { return 0; }

void run(const RandomUniform& op, Context& context) {
  context.pool.run(op.n, [&](int64_t n, int) {
    float* u = op.u + n * op.values;
    for (int32_t i = 0; i < op.values; ++i) {
      u[i] = uniform(
          philox({{op.index[n], static_cast<uint32_t>(i), 0, 0}}, op.random[0], op.random[1]).word[0]);
    }
  });
}

int64_t workspace(const Binarise&, int) { return 0; }

void run(const Binarise& op, Context& context) {
  context.pool.run(op.n, [&](int64_t n, int) {
    const int64_t start = n * op.pixels;
    for (int32_t i = 0; i < op.pixels; ++i) {
      const PhiloxWords words =
          philox({{op.index[n], static_cast<uint32_t>(i), op.random[2], 1}}, op.random[0], op.random[1]);
      op.out[start + i] = uniform(words.word[0]) < static_cast<float>(op.bytes[start + i]) / 255.0f ? 255 : 0;
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
