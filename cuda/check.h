// Turns CUDA's status codes into errors of pixelcnn.
#pragma once
#include <cuda_runtime.h>

#include <string>

#include "../native/error.h"

namespace pixelcnn::cuda {

// Throws ERR_CUDA, or ERR_OUT_OF_MEMORY, with the call and CUDA's text, unless the status is success. Also
// clears the error that CUDA keeps for the thread, so that the next call does not report it again.
inline void check_cuda(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  const std::string text =
      std::string(call) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")";
  if (status == cudaErrorMemoryAllocation) throw Error("ERR_OUT_OF_MEMORY", text);
  // CUDA reports a kernel's failure in a later call, so the call in the message may not be the cause.
  throw Error("ERR_CUDA", text, "run again with PIXELCNN_SYNC=1: the error then names the op that caused it");
}

// Whether an error is permanent, so that the process cannot use the GPU any more. CUDA's documentation
// says of these codes that "this leaves the process in an inconsistent state", or, of the first, that
// memory has failed.
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
