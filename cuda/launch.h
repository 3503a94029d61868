// What a launcher may use besides its op's operands, and the two functions that every op has here.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../native/ops.h"
#include "gpu.h"

namespace pixelcnn::cuda {

class Cudnn;

// What is known about the device before a run.
struct Gpu {
  int multiprocessors;
  int compute_capability;  // 10 * major + minor
  Cudnn* cudnn;            // null where there is none
};

// Where a launcher enqueues its kernels.
struct Launch {
  cudaStream_t stream;
  std::byte* workspace;  // 256-byte aligned, at least what workspace(op, gpu) asked for
  int multiprocessors;
  Cudnn* cudnn;
};

// Whether the device multiplies in this precision.
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

// Bytes of packed weights: [K][(kernel_size / 2 + 1) * kernel_size][C], the same for every direction and
// algorithm.
int64_t packed_bytes(const MaskedConv2dShape& shape, Direction direction);

// workspace: bytes of scratch; called once per op before its program's first run, it may build plans and time
// them. run: enqueues only (no allocation, synchronisation or host read of device memory): it may be under
// stream capture. Kernels that change from step to step read what changes from device memory.
#define PIXELCNN_X(Op)                             \
  int64_t workspace(const Op& op, const Gpu& gpu); \
  void run(const Op& op, const Launch& launch);
PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

}  // namespace pixelcnn::cuda
