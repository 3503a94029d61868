// Declares pointers to the functions of cuDNN that are called, because cuDNN is opened at run time and
// never linked.
#pragma once
#include <cudnn_graph.h>

namespace pixelcnn::cuda {

#define PIXELCNN_CUDNN_FUNCTIONS(X) \
  X(cudnnGetVersion)                \
  X(cudnnGetCudartVersion)          \
  X(cudnnGetErrorString)            \
  X(cudnnGetLastErrorString)        \
  X(cudnnCreate)                    \
  X(cudnnDestroy)                   \
  X(cudnnSetStream)                 \
  X(cudnnBackendCreateDescriptor)   \
  X(cudnnBackendDestroyDescriptor)  \
  X(cudnnBackendSetAttribute)       \
  X(cudnnBackendGetAttribute)       \
  X(cudnnBackendFinalize)           \
  X(cudnnBackendExecute)

struct CudnnApi {
#define PIXELCNN_X(function) decltype(&::function) function = nullptr;
  PIXELCNN_CUDNN_FUNCTIONS(PIXELCNN_X)
#undef PIXELCNN_X
};

// Version 9.8 introduced device properties (CUDNN_ATTR_DEVICEPROP_*), with which plans can be made without
// a device.
constexpr int kLeastCudnnVersion = 90800;

}  // namespace pixelcnn::cuda
