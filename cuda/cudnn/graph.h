// Builds the cuDNN graphs of masked convolutions. Masked weights are zeros in the packed filter, which ends
// with the output pixel's own row. The padding is therefore the reach of the window: none below.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "descriptor.h"
#include "plans.h"

namespace pixelcnn::cuda {

// Where plans will run: a handle, or the properties of a device without a handle.
struct CudnnTarget {
  cudnnHandle_t handle = nullptr;
  std::optional<Descriptor> properties;
};

// Reads properties from cuDNN's JSON text. Throws ERR_CUDNN if cuDNN refuses the text.
Descriptor device_properties(const CudnnApi& api, const std::string& json);

// The roles of a graph's tensors. The value is the tensor's id in the graph and in the variant pack.
enum TensorId : int64_t {
  kX = 1,
  kPacked,
  kBias,
  kY,
  kGradY,
  kReluOutput,
  kGradX,
  kGradPacked,
  kZero,  // (1), float32, always 0
  kAdd,
  kIntermediate,  // this and following ids: virtual tensors
};

// A finalized operation graph and the descriptors that it consists of.
struct Graph {
  std::vector<Descriptor> parts;
  Descriptor graph;
};

// Returns the tensors of a convolution that need memory.
std::vector<TensorId> tensors_of(Convolution convolution, Precision precision);

// Returns text such as "bf16 forward+relu n=128 28x28 c=64 k=64 4x7", which names the graph in messages,
// cache keys and reports. Where the output pixel is not in the middle of its row of the window, " left=3"
// follows.
std::string describe(const ConvolutionRequest& request);

// Returns "forward", "input-gradient" and so on. Cache keys and lists of excluded engines on users' disks
// contain these names, so they must not change.
const char* name_of(Convolution convolution);

// Builds the graph of exactly this convolution. Throws ERR_CUDNN if cuDNN refuses it.
Graph build_graph(const CudnnApi& api, const CudnnTarget& target, const ConvolutionRequest& request);

}  // namespace pixelcnn::cuda
