// Collects what `pixelcnn doctor` says about cuDNN, as plain data that can be passed to pixelcnn.node.
#pragma once
#include "../../native/cuda_api.h"

namespace pixelcnn::cuda {

// Searches for cuDNN as an opening device does.
void report_cudnn(CudnnReport* report);

}  // namespace pixelcnn::cuda
