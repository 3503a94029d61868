// Runs an execution plan of cuDNN: passes it the pointers of its tensors and enqueues it.
#include "plan.h"

namespace pixelcnn::cuda {

void CudnnPlan::execute(const ConvolutionOperands& operands, std::byte* workspace,
                        cudaStream_t stream) const {
  const CudnnApi& api = runtime_.api;
  PIXELCNN_CHECK(runtime_.target.handle != nullptr, "ERR_CUDNN", "this plan was made without a device");
  check_cudnn(api, api.cudnnSetStream(runtime_.target.handle, stream), "cudnnSetStream");
  std::vector<int64_t> ids;
  std::vector<void*> pointers;
  for (const TensorId id : tensors_) {
    ids.push_back(id);
    pointers.push_back(operand(id, operands));
  }
  void* const scratch = workspace;
  Descriptor pack(api, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, static_cast<int64_t>(pointers.size()),
           pointers.data());
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &scratch);
  pack.finalize();
  check_cudnn(api, api.cudnnBackendExecute(runtime_.target.handle, plan_.get(), pack.get()),
              "cudnnBackendExecute");
}

void* CudnnPlan::operand(TensorId id, const ConvolutionOperands& o) const {
  switch (id) {
    case kX:
      return const_cast<void*>(o.x);
    case kPacked:
      return const_cast<void*>(o.packed);
    case kBias:
      return const_cast<void*>(o.bias);
    case kAdd:
      return const_cast<void*>(o.add);
    case kY:
      return o.y;
    case kGradY:
      return const_cast<void*>(o.grad_y);
    case kReluOutput:
      return const_cast<void*>(o.relu_output);
    case kGradX:
      return o.grad_x;
    case kGradPacked:
      return o.grad_packed;
    default:
      return runtime_.zero;
  }
}

}  // namespace pixelcnn::cuda
