// Declares the two functions that every op has here, and what they receive besides the op's operands.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../native/ops.h"
#include "gpu.h"

namespace pixelcnn::cuda {

// The version of the last bits of these kernels. Raise it with every change after which an op may give other
// bits from the same inputs: another order of sums, or another place where a result is rounded. Checkpoints
// record it, and a run that is resumed under another version says so (src/train/numerics.ts).
constexpr int32_t kSumsVersion = 1;

class Cudnn;

// What is known about the device before a run.
struct Gpu {
  int multiprocessors;
  int compute_capability;  // 10 * major + minor
  Cudnn* cudnn;            // null if cuDNN is not used
};

// Where a launcher enqueues its kernels, and the workspace that they may use.
struct Launch {
  cudaStream_t stream;
  std::byte* workspace;  // 256-byte aligned, at least as large as workspace(op, gpu) returned
  int multiprocessors;
  Cudnn* cudnn;
};

// Whether the device can compute in this precision.
constexpr bool supports(int compute_capability, Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return true;
    case Precision::kF16:
      return compute_capability >= 75;
    case Precision::kTf32:
    case Precision::kBf16:
      return compute_capability >= 80;
  }
  return false;
}

// Returns the bytes of packed weights: [K][(window.above + 1) * window.columns][C], the same for every
// direction and algorithm.
int64_t packed_bytes(const FilterShape& shape, Direction direction);

// `workspace` returns the bytes of scratch memory that an op needs. It is called once per op before the
// first run of its program, and may build plans and time them. `run` only enqueues: it may be under stream
// capture, so it neither allocates nor synchronises nor reads device memory. What changes between runs is
// read from device memory by the kernels.
#define PIXELCNN_X(Op)                             \
  int64_t workspace(const Op& op, const Gpu& gpu); \
  void run(const Op& op, const Launch& launch);
PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

}  // namespace pixelcnn::cuda
