// Computes the gradient norm and the Adam update of all parameters, which lie in one flat arena (Kingma &
// Ba 2015; decoupled decay as in Loshchilov & Hutter 2019).
#include <cmath>

#include "kernels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {
constexpr int32_t kChunk = 1 << 14;

int64_t chunks(int32_t count) { return (int64_t{count} + kChunk - 1) / kChunk; }
}  // namespace

int64_t workspace(const GradientNorm& op, int) {
  return chunks(op.count) * static_cast<int64_t>(sizeof(double));
}

void run(const GradientNorm& op, Context& context) {
  double* sums = reinterpret_cast<double*>(context.workspace);
  context.pool.run(chunks(op.count), [&](int64_t chunk, int) {
    const int64_t begin = chunk * kChunk;
    const int64_t end = begin + kChunk < op.count ? begin + kChunk : op.count;
    // Eight independent sums let the compiler vectorise the loop without reordering a sum.
    double partial[8] = {};
    int64_t i = begin;
    for (; i + 8 <= end; i += 8) {
      for (int lane = 0; lane < 8; ++lane) {
        const double g = op.gradients[i + lane];
        partial[lane] += g * g;
      }
    }
    for (; i < end; ++i) partial[0] += static_cast<double>(op.gradients[i]) * op.gradients[i];
    double sum = 0;
    for (double lane : partial) sum += lane;
    sums[chunk] = sum;
  });
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks(op.count); ++chunk) sum += sums[chunk];
  op.state[0] = std::sqrt(sum);
}

int64_t workspace(const Adam&, int) { return 0; }

void run(const Adam& op, Context& context) {
  const double norm = op.state[0];
  if (!std::isfinite(norm)) {
    op.state[2] += 1;
    return;
  }
  op.state[1] += 1;
  const float rate = op.hyper[0];
  const float beta1 = op.hyper[1];
  const float beta2 = op.hyper[2];
  const float epsilon = op.hyper[3];
  const float decay = rate * op.hyper[4];
  const float max_norm = op.hyper[5];
  const float average_decay = op.hyper[6];
  const float scale = max_norm > 0 && norm > max_norm ? static_cast<float>(max_norm / norm) : 1.0f;
  const double correction1 = 1 - std::pow(static_cast<double>(beta1), op.state[1]);
  const double correction2 = 1 - std::pow(static_cast<double>(beta2), op.state[1]);
  const float step = static_cast<float>(rate / correction1);
  const float inverse_root = static_cast<float>(1 / std::sqrt(correction2));
  context.pool.run(chunks(op.count), [&](int64_t chunk, int) {
    const int64_t begin = chunk * kChunk;
    const int64_t end = begin + kChunk < op.count ? begin + kChunk : op.count;
    for (int64_t i = begin; i < end; ++i) {
      const float g = op.gradients[i] * scale;
      const float m = op.moment1[i] + (1 - beta1) * (g - op.moment1[i]);
      const float v = beta2 * op.moment2[i] + (1 - beta2) * g * g;
      const float p = op.parameters[i] - decay * op.parameters[i] -
                      step * m / (__builtin_sqrtf(v) * inverse_root + epsilon);
      op.moment1[i] = m;
      op.moment2[i] = v;
      op.parameters[i] = p;
      op.average[i] = average_decay > 0 ? op.average[i] + (1 - average_decay) * (p - op.average[i]) : p;
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
