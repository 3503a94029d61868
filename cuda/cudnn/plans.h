// Convolutions by cuDNN: which plans a device has, the fastest among them and our own kernels, and running
// it. No cuDNN header is needed here; the interface is abstract so that code using it links without cuDNN.
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

// What one cuDNN graph computes, on NHWC tensors in the element type of the precision and on packed weights
// [K][R][S][C] with R = kernel_size / 2 + 1 rows (launch.h, packed_bytes).
enum class Convolution {
  kForward,                // y = conv(x, w) + bias, the bias in the element type
  kForwardRelu,            // y = max(0, conv(x, w) + bias)
  kInputGradient,          // grad_x
  kInputGradientGated,     // grad_x, 0 where gate <= 0
  kWeightGradient,         // grad_w in float32
  kWeightGradientRounded,  // grad_w in the element type (kBf16 only: float16 would overflow)
};

// An op that wants a plan. n, h, w, c, k, kernel_size and precision of the shape count; masks are in the
// weights.
struct ConvolutionRequest {
  Convolution convolution;
  MaskedConv2dShape shape;
};

// Operands of a plan; each kind of convolution reads those in its line of `Convolution`.
struct ConvolutionOperands {
  const void* x = nullptr;       // (N, H, W, C)
  const void* packed = nullptr;  // [K][R][S][C]
  const void* bias = nullptr;    // (K) in the element type
  void* y = nullptr;             // (N, H, W, K)
  const void* grad_y = nullptr;  // (N, H, W, K)
  const void* gate = nullptr;    // (N, H, W, C)
  void* grad_x = nullptr;        // (N, H, W, C)
  void* grad_packed = nullptr;   // [K][R][S][C], float32 or (kWeightGradientRounded) in the element type
};

// A plan that can run on the device it was made for. Every pointer is 16-byte aligned.
class ConvolutionPlan {
 public:
  virtual ~ConvolutionPlan() = default;
  // What it computes, which may be less than was requested: a request for kInputGradientGated may get a plan
  // for kInputGradient, one for kWeightGradient a plan for kWeightGradientRounded; the caller does the rest.
  virtual Convolution convolution() const = 0;
  virtual int64_t workspace_bytes() const = 0;
  // The engine, in a form that Cudnn::exclude takes: "9.24.0/forward/62".
  virtual const std::string& engine() const = 0;
  // Only enqueues, also under stream capture. Throws ERR_CUDNN.
  virtual void execute(const ConvolutionOperands& operands, std::byte* workspace,
                       cudaStream_t stream) const = 0;
};

// The whole op as the caller will run it: with a plan, or with our own kernels where the plan is null. The
// memory (256-byte aligned, filled with small finite numbers) is for operands and workspace, laid out by the
// caller.
struct ConvolutionTrial {
  std::function<int64_t(const ConvolutionPlan* plan)> bytes;
  std::function<void(const ConvolutionPlan* plan, std::byte* memory, cudaStream_t stream)> enqueue;
};

// cuDNN on one device. All functions are for the device's executor thread.
class Cudnn {
 public:
  virtual ~Cudnn() = default;

  // Chooses how to run a request, once: from the cache on disk, or by timing our kernels and the candidates.
  // Null where our kernels are fastest or cuDNN offers nothing. Not under capture, nor while another stream
  // of the GPU is busy: that would be timed as well. Plans live as long as this.
  virtual const ConvolutionPlan* prepare(const ConvolutionRequest& request,
                                         const ConvolutionTrial& trial) = 0;
  // What `prepare` chose; null as well for a request it has not seen.
  virtual const ConvolutionPlan* find(const ConvolutionRequest& request) const = 0;

  // Every plan that passes the rules (deterministic, float32 sums, no transform that mixes pixels, workspace
  // within the cap), in cuDNN's order.
  virtual std::vector<std::unique_ptr<ConvolutionPlan>> candidates(const ConvolutionRequest& request) = 0;

  // From now on no choice falls on this engine, in later processes neither: it was seen to leak across the
  // mask. What was prepared before stays.
  virtual void exclude(const std::string& engine) = 0;
};

// Plans for the current CUDA device; what must be set up there is enqueued in `stream`. Throws ERR_CUDNN
// where cuDNN does not accept the device.
std::unique_ptr<Cudnn> open_cudnn(std::shared_ptr<const CudnnLibrary> library, cudaStream_t stream);

// Plans for the device that a JSON text describes (cuDNN's device properties), without a device: they cannot
// be executed, and `prepare` takes the first candidate.
std::unique_ptr<Cudnn> open_cudnn_for_profile(std::shared_ptr<const CudnnLibrary> library,
                                              const std::string& device_properties);

}  // namespace pixelcnn::cuda
