// Computes the gradient norm and the Adam update of all parameters, which lie in one flat arena (Kingma &
// Ba 2015; decoupled decay as in Loshchilov & Hutter 2019).
#include "launch.h"
#include "reduce.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
// Elements of one partial sum. The number is fixed, so that the norm has the same bits on every GPU.
constexpr int kChunk = 16 * kThreads;

int chunks(int32_t count) { return static_cast<int>((int64_t{count} + kChunk - 1) / kChunk); }

// Sets sums[block] to the sum of the squares of one chunk. The square of a float is exact in double.
__global__ void __launch_bounds__(kThreads)
    square_sums_kernel(const float* __restrict__ gradients, double* __restrict__ sums, int count) {
  const int64_t begin = int64_t{blockIdx.x} * kChunk;
  double sum = 0;
  for (int i = threadIdx.x; i < kChunk; i += kThreads) {
    const double g = begin + i < count ? gradients[begin + i] : 0;
    sum += g * g;
  }
  sum = block_sum<kWarps>(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// Sets state[0] to the root of the sum of the partial sums. One block runs it.
__global__ void __launch_bounds__(kThreads)
    norm_kernel(const double* __restrict__ sums, double* __restrict__ state, int count) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = block_sum<kWarps>(sum);
  if (threadIdx.x == 0) state[0] = sqrt(sum);
}

// Holds the scalars of one update, which one thread computes from the hyperparameters and the state.
struct AdamStep {
  float scale;  // multiplies the gradients
  float beta1, beta2;
  float step, inverse_root, epsilon;  // p -= step * m / (sqrt(v) * inverse_root + epsilon)
  float decay, average_decay;
  int32_t skip;
};

// Counts the step and computes its scalars. Only this kernel writes the state, so that the update kernel
// can run with any number of blocks.
__global__ void prepare_kernel(const float* __restrict__ hyper, double* __restrict__ state,
                               AdamStep* __restrict__ prepared) {
  const double norm = state[0];
  AdamStep next = {};
  next.skip = !(norm < static_cast<double>(INFINITY));
  if (next.skip) {
    state[2] += 1;
  } else {
    const double taken = state[1] + 1;
    state[1] = taken;
    const float rate = hyper[0], max_norm = hyper[5];
    next.scale = max_norm > 0 && norm > max_norm ? static_cast<float>(max_norm / norm) : 1.0f;
    next.beta1 = hyper[1];
    next.beta2 = hyper[2];
    next.step = static_cast<float>(rate / (1 - pow(static_cast<double>(next.beta1), taken)));
    next.inverse_root = static_cast<float>(1 / sqrt(1 - pow(static_cast<double>(next.beta2), taken)));
    next.epsilon = hyper[3];
    next.decay = rate * hyper[4];
    next.average_decay = hyper[6];
  }
  *prepared = next;
}

struct alignas(16) Floats {
  float at[4];
};

__device__ inline void update(const AdamStep& step, float gradient, float& parameter, float& moment1,
                              float& moment2, float& average) {
  const float g = gradient * step.scale;
  moment1 = moment1 + (1 - step.beta1) * (g - moment1);
  moment2 = step.beta2 * moment2 + (1 - step.beta2) * g * g;
  parameter = parameter - step.decay * parameter -
              step.step * moment1 / (sqrtf(moment2) * step.inverse_root + step.epsilon);
  average = step.average_decay > 0 ? average + (1 - step.average_decay) * (parameter - average) : parameter;
}

// Updates four parameters per thread. They can be loaded as vectors, because an op's tensors begin at
// multiples of 256 bytes.
__global__ void __launch_bounds__(kThreads)
    adam_kernel(const AdamStep* __restrict__ prepared, const float* __restrict__ gradients,
                float* __restrict__ parameters, float* __restrict__ moment1, float* __restrict__ moment2,
                float* __restrict__ average, int count) {
  const AdamStep step = *prepared;
  if (step.skip) return;
  const int64_t begin = 4 * (int64_t{blockIdx.x} * kThreads + threadIdx.x);
  if (begin + 4 <= count) {
    const Floats g = *reinterpret_cast<const Floats*>(gradients + begin);
    Floats p = *reinterpret_cast<const Floats*>(parameters + begin);
    Floats m = *reinterpret_cast<const Floats*>(moment1 + begin);
    Floats v = *reinterpret_cast<const Floats*>(moment2 + begin);
    Floats a = *reinterpret_cast<const Floats*>(average + begin);
    for (int i = 0; i < 4; ++i) update(step, g.at[i], p.at[i], m.at[i], v.at[i], a.at[i]);
    *reinterpret_cast<Floats*>(parameters + begin) = p;
    *reinterpret_cast<Floats*>(moment1 + begin) = m;
    *reinterpret_cast<Floats*>(moment2 + begin) = v;
    *reinterpret_cast<Floats*>(average + begin) = a;
  } else {
    for (int64_t i = begin; i < count; ++i) {
      update(step, gradients[i], parameters[i], moment1[i], moment2[i], average[i]);
    }
  }
}

}  // namespace

int64_t workspace(const GradientNorm& op, const Gpu&) {
  return chunks(op.count) * static_cast<int64_t>(sizeof(double));
}

void run(const GradientNorm& op, const Launch& launch) {
  double* sums = reinterpret_cast<double*>(launch.workspace);
  const int count = chunks(op.count);
  LAUNCH(square_sums_kernel, count, kThreads, 0, launch.stream)(op.gradients, sums, op.count);
  LAUNCH(norm_kernel, 1, kThreads, 0, launch.stream)(sums, op.state, count);
}

int64_t workspace(const Adam&, const Gpu&) { return sizeof(AdamStep); }

void run(const Adam& op, const Launch& launch) {
  AdamStep* prepared = reinterpret_cast<AdamStep*>(launch.workspace);
  const int blocks = static_cast<int>((int64_t{op.count} + 4 * kThreads - 1) / (4 * kThreads));
  LAUNCH(prepare_kernel, 1, 1, 0, launch.stream)(op.hyper, op.state, prepared);
  LAUNCH(adam_kernel, blocks, kThreads, 0, launch.stream)
  (prepared, op.gradients, op.parameters, op.moment1, op.moment2, op.average, op.count);
}

}  // namespace pixelcnn::cuda
