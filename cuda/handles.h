// Defines owners for the objects that the CUDA runtime creates.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <type_traits>

namespace pixelcnn::cuda {

// Calls a CUDA function that frees an object. Ignores errors, because a destructor cannot report them.
template <auto kFunction>
struct Deleter {
  template <class Handle>
  void operator()(Handle handle) const {
    static_cast<void>(kFunction(handle));
  }
};
template <class Handle, auto kFunction>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Deleter<kFunction>>;

using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using CapturedGraph = Owned<cudaGraph_t, cudaGraphDestroy>;
using GraphExecutable = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using DeviceMemory = Owned<std::byte*, cudaFree>;
using PinnedMemory = Owned<std::byte*, cudaFreeHost>;

}  // namespace pixelcnn::cuda
