// What `pixelcnn doctor` says of cuDNN, as plain data that can cross to pixelcnn.node.
#pragma once
#include "../../native/cuda_api.h"

namespace pixelcnn::cuda {

// Looks for cuDNN, as a device does when it opens.
void report_cudnn(CudnnReport* report);

}  // namespace pixelcnn::cuda
