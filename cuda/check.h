// CUDA status codes as errors of pixelcnn.
#pragma once
#include <cuda_runtime.h>

#include <string>

#include "../native/error.h"

namespace pixelcnn::cuda {

// Throws ERR_CUDA (ERR_OUT_OF_MEMORY for a lack of memory) with the call and CUDA's text unless the status is
// success. The error that CUDA keeps for the thread is cleared, so the next call starts clean.
inline void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const std::string text =
      std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  throw Error(status == cudaErrorMemoryAllocation ? "ERR_OUT_OF_MEMORY" : "ERR_CUDA", text);
}

#define PIXELCNN_CUDA(call) ::pixelcnn::cuda::check_cuda(call, #call)

}  // namespace pixelcnn::cuda
