// Defines a finalized execution plan of cuDNN together with what it needs to run.
#pragma once
#include <cuda_runtime.h>

#include <string>
#include <utility>
#include <vector>

#include "engines.h"

namespace pixelcnn::cuda {

// What plans need to run. It must outlive them.
struct PlanRuntime {
  PlanRuntime(const CudnnApi& cudnn, CudnnTarget where) : api(cudnn), target(std::move(where)) {}
  ~PlanRuntime() {
    if (zero != nullptr) static_cast<void>(cudaFree(zero));
    if (target.handle != nullptr) static_cast<void>(api.cudnnDestroy(target.handle));
  }
  PlanRuntime(const PlanRuntime&) = delete;
  PlanRuntime& operator=(const PlanRuntime&) = delete;

  const CudnnApi& api;
  const CudnnTarget target;
  float* zero = nullptr;  // on the device
};

class CudnnPlan final : public ConvolutionPlan {
 public:
  CudnnPlan(const PlanRuntime& runtime, Convolution convolution, Precision precision, std::string engine,
            Descriptor plan)
      : runtime_(runtime),
        convolution_(convolution),
        tensors_(tensors_of(convolution, precision)),
        engine_(std::move(engine)),
        plan_(std::move(plan)),
        workspace_bytes_(plan_.get_int64(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)) {}

  Convolution convolution() const override { return convolution_; }
  int64_t workspace_bytes() const override { return workspace_bytes_; }
  const std::string& engine() const override { return engine_; }
  std::string json() const { return plan_to_json(plan_); }

  void execute(const ConvolutionOperands& operands, std::byte* workspace, cudaStream_t stream) const override;

 private:
  void* operand(TensorId id, const ConvolutionOperands& o) const;

  const PlanRuntime& runtime_;
  Convolution convolution_;
  std::vector<TensorId> tensors_;
  std::string engine_;
  Descriptor plan_;
  int64_t workspace_bytes_;
};

}  // namespace pixelcnn::cuda
