// The CUDA backend as the addon sees it: the functions of libpixelcnn_cuda.so behind the Backend interface.
#pragma once
#include <memory>

#include "backend.h"
#include "cuda_api.h"

namespace pixelcnn {

// Opens GPU `index` with the library beside this addon, or the one that PIXELCNN_CUDA_LIBRARY names. Throws
// ERR_BACKEND_UNAVAILABLE where there is no library, driver or GPU that can be used, ERR_NO_DEVICE for an
// index too large.
std::shared_ptr<Backend> open_cuda_backend(int index);

// What the library finds of cuDNN on this machine, or why there is no library; no GPU is needed.
CudnnReport report_cudnn();

}  // namespace pixelcnn
