// The cuDNN graphs of masked convolution. Masks are zeros in the packed weights; of a k x k filter only the
// upper k / 2 + 1 rows are there, so the padding is k / 2 above and none below.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "descriptor.h"
#include "plans.h"

namespace pixelcnn::cuda {

// Where plans are to run: a handle, or without a device the properties of one.
struct CudnnTarget {
  cudnnHandle_t handle = nullptr;
  std::optional<Descriptor> properties;
};

// Properties from cuDNN's JSON text. Throws ERR_CUDNN for a text that it refuses.
Descriptor device_properties(const CudnnApi& api, const std::string& json);

// What a tensor of a graph is to the caller; the value is its id in the graph and in the variant pack.
enum TensorId : int64_t {
  kX = 1,
  kPacked,
  kBias,
  kY,
  kGradY,
  kGate,
  kGradX,
  kGradPacked,
  kZero,          // float32 (1), a zero
  kIntermediate,  // and the following: virtual
};

// A finalized operation graph with all that it is made of.
struct Graph {
  std::vector<Descriptor> parts;
  Descriptor graph;
};

// The tensors of a convolution that need memory.
std::vector<TensorId> tensors_of(Convolution convolution, Precision precision);

// "bf16 forward+relu n=128 28x28 c=64 k=64 4x7": names the graph in messages, keys and reports.
std::string describe(const ConvolutionRequest& request);

// "forward", "input-gradient" …
const char* name_of(Convolution convolution);

// The graph of exactly this convolution. Throws ERR_CUDNN where cuDNN refuses it.
Graph build_graph(const CudnnApi& api, const CudnnTarget& target, const ConvolutionRequest& request);

}  // namespace pixelcnn::cuda
