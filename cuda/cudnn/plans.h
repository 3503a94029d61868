// Defines the interface to convolutions by cuDNN. It is abstract and includes no cuDNN header, so that
// code that uses it links without cuDNN.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../../native/ops.h"

namespace pixelcnn::cuda {

struct CudnnLibrary;

// The computation of one cuDNN graph, on NHWC tensors in the element type of the precision and on packed
// weights [K][R][S][C] with R = window.above + 1 rows (packed_bytes in launch.h). The numbers are in the
// caches of users (cache.cc), so a new one goes to the end.
enum class Convolution {
  kForward,                   // y = conv(x, w) + bias, the bias in the element type
  kForwardRelu,               // y = max(0, conv(x, w) + bias)
  kInputGradient,             // grad_x
  kInputGradientThroughRelu,  // grad_x, 0 where relu_output <= 0
  kWeightGradient,            // grad_w in float32
  kWeightGradientRounded,     // grad_w in the element type (kBf16 only: float16 would overflow)
  kForwardAdd,                // y = conv(x, w) + add + bias
  kForwardAddRelu,            // y = max(0, conv(x, w) + add + bias)
  kForwardWithoutBias,        // y = conv(x, w)
  kInputGradientAdd,          // grad_x + add
};

// Asks for a plan. Of the shape, only n, h, w, c, k, the precision, and how far the window reaches from the
// output pixel matter; masked weights are zeros in the packed filter.
struct ConvolutionRequest {
  Convolution convolution;
  MaskedConv2dShape shape;
};

// The operands of a plan. Each kind of convolution reads the ones in its line of `Convolution`.
struct ConvolutionOperands {
  const void* x = nullptr;            // (N, H, W, C)
  const void* packed = nullptr;       // [K][R][S][C]
  const void* bias = nullptr;         // (K) in the element type
  const void* add = nullptr;          // like the result: y or grad_x
  void* y = nullptr;                  // (N, H, W, K)
  const void* grad_y = nullptr;       // (N, H, W, K)
  const void* relu_output = nullptr;  // (N, H, W, C)
  void* grad_x = nullptr;             // (N, H, W, C)
  void* grad_packed = nullptr;        // [K][R][S][C], float32, or the element type if kWeightGradientRounded
};

// A plan that can run on the device that it was made for. Every pointer must be 16-byte aligned.
class ConvolutionPlan {
 public:
  virtual ~ConvolutionPlan() = default;
  // What the plan computes, which may be less than was requested: for kInputGradientThroughRelu it may be
  // kInputGradient, and for kWeightGradient it may be kWeightGradientRounded. The caller then does the
  // rest.
  virtual Convolution convolution() const = 0;
  virtual int64_t workspace_bytes() const = 0;
  // Returns the engine's name, as Cudnn::exclude takes it: "9.24.0/forward/62".
  virtual const std::string& engine() const = 0;
  // Only enqueues, so it works under stream capture. Throws ERR_CUDNN.
  virtual void execute(const ConvolutionOperands& operands, std::byte* workspace,
                       cudaStream_t stream) const = 0;
};

// The whole op as the caller will run it: with a plan, or with our own kernels if the plan is null. The
// caller lays out operands and workspace in the memory, which is 256-byte aligned and filled with small
// finite numbers.
struct ConvolutionTrial {
  std::function<int64_t(const ConvolutionPlan* plan)> bytes;
  std::function<void(const ConvolutionPlan* plan, std::byte* memory, cudaStream_t stream)> enqueue;
};

// cuDNN on one device. All functions are called on the device's executor thread.
class Cudnn {
 public:
  virtual ~Cudnn() = default;

  // Chooses once how to run a request: from the cache on disk, or by timing our kernels and the
  // candidates. Returns null if our kernels are fastest or cuDNN offers nothing. Must not be called under
  // capture or while another stream of the GPU is busy, which would disturb the timing. Plans live as long
  // as this object.
  virtual const ConvolutionPlan* prepare(const ConvolutionRequest& request,
                                         const ConvolutionTrial& trial) = 0;
  // Returns what `prepare` chose; null also for a request that it has not seen.
  virtual const ConvolutionPlan* find(const ConvolutionRequest& request) const = 0;

  // Returns every plan that passes the rules (deterministic, float32 sums, no transform that mixes pixels,
  // small enough workspace), in cuDNN's order.
  virtual std::vector<std::unique_ptr<ConvolutionPlan>> candidates(const ConvolutionRequest& request) = 0;

  // Never chooses this engine again, in later processes either, because it was seen to leak across the
  // mask. Choices that were already made stay.
  virtual void exclude(const std::string& engine) = 0;
};

// Opens cuDNN for the current CUDA device, and enqueues its setup in `stream`. Throws ERR_CUDNN if cuDNN
// does not accept the device.
std::unique_ptr<Cudnn> open_cudnn(std::shared_ptr<const CudnnLibrary> library, cudaStream_t stream);

// Opens cuDNN for the device that a JSON text describes (cuDNN's device properties), without that device.
// Its plans cannot be executed, and `prepare` takes the first candidate.
std::unique_ptr<Cudnn> open_cudnn_for_profile(std::shared_ptr<const CudnnLibrary> library,
                                              const std::string& device_properties);

}  // namespace pixelcnn::cuda
