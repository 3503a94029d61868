// Makes the functions of libpixelcnn_cuda.so available as a Backend.
#pragma once
#include <memory>

#include "backend.h"
#include "cuda_api.h"

namespace pixelcnn {

// Opens GPU `index` with the library that lies beside this addon, or with the one that
// PIXELCNN_CUDA_LIBRARY names. Throws ERR_BACKEND_UNAVAILABLE if there is no usable library, driver or
// GPU, and ERR_NO_DEVICE if the index is too large.
std::shared_ptr<Backend> open_cuda_backend(int index);

// Reports which cuDNN the library finds on this machine, or why the library itself is missing. Needs no
// GPU.
CudnnReport report_cudnn();

}  // namespace pixelcnn
