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
  if (status == cudaErrorMemoryAllocation) throw Error("ERR_OUT_OF_MEMORY", text);
  // A kernel's failure is seen by whichever call comes next.
  throw Error("ERR_CUDA", text, "run again with PIXELCNN_SYNC=1: the error then names the op that caused it");
}

// Whether CUDA does not recover from an error: it stays, and the process cannot use the GPU any more. (CUDA's
// documentation of these codes: "this leaves the process in an inconsistent state"; of the first, that memory
// has failed.)
inline bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
      return true;
    default:
      return false;
  }
}

#define PIXELCNN_CUDA(call) ::pixelcnn::cuda::check_cuda(call, #call)

}  // namespace pixelcnn::cuda
