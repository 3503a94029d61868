// Computes each masked convolution by the fastest of cuDNN's plans and our own kernels. Algorithm::kDirect
// always uses our kernels, because they are exactly causal and give the same bits in the sampler's regions.
#include <optional>

#include "cudnn/plans.h"
#include "grid.h"
#include "masked_conv2d.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

template <class T>
__global__ void __launch_bounds__(kFlatThreads) round_bias(const float* bias, T* out, int channels) {
  const int64_t channel = flat_index();
  if (channel < channels) out[channel] = from_float<T>(bias[channel]);
}

template <class T>
__global__ void __launch_bounds__(kFlatThreads)
    zero_where_inactive(const T* relu_output, T* grad, int64_t count) {
  for (int64_t i = flat_index(); i < count; i += flat_stride()) {
    if (to_float(relu_output[i]) <= 0) grad[i] = from_float<T>(0);
  }
}

// Cuts a block of memory into pieces. Without memory it only counts the bytes.
struct Pieces {
  std::byte* memory;
  int64_t bytes = 0;

  template <class T>
  void take(T*& piece, int64_t size) {
    if (memory != nullptr) piece = reinterpret_cast<T*>(memory + bytes);
    bytes += (size + 255) / 256 * 256;
  }
};

// ---- forward

// The graphs compute whole images. Without a bias they have nothing else either.
std::optional<ConvolutionRequest> request(const MaskedConv2d& op) {
  using enum Convolution;
  if (op.y_precision() != op.shape.precision || !op.region.is_image()) return std::nullopt;
  if (op.bias == nullptr) {
    if (op.add != nullptr || op.relu) return std::nullopt;
    return ConvolutionRequest{kForwardWithoutBias, op.shape};
  }
  const Convolution with_add = op.relu ? kForwardAddRelu : kForwardAdd,
                    without_add = op.relu ? kForwardRelu : kForward;
  return ConvolutionRequest{op.add != nullptr ? with_add : without_add, op.shape};
}

void take_operands(MaskedConv2d& op, Pieces& pieces) {
  const int64_t element = element_bytes(op.shape.precision);
  pieces.take(op.x, op.shape.x_count() * element);
  pieces.take(op.packed, packed_bytes(op.shape, Direction::kForward));
  if (op.bias != nullptr) pieces.take(op.bias, op.shape.k * int64_t{sizeof(float)});
  if (op.add != nullptr) pieces.take(op.add, op.shape.y_count() * element);
  pieces.take(op.y, op.shape.y_count() * element);
}

struct ForwardScratch {
  void* bias = nullptr;  // in the element type of the precision
  std::byte* plan = nullptr;

  ForwardScratch(const MaskedConv2d& op, const ConvolutionPlan& with, Pieces& pieces) {
    if (op.bias != nullptr && element_bytes(op.shape.precision) < 4)
      pieces.take(bias, op.shape.k * int64_t{2});
    pieces.take(plan, with.workspace_bytes());
  }
};

int64_t scratch_bytes(const MaskedConv2d& op, const ConvolutionPlan* plan) {
  Pieces pieces{nullptr};
  if (plan != nullptr) ForwardScratch(op, *plan, pieces);
  return pieces.bytes;
}

void enqueue(const MaskedConv2d& op, const ConvolutionPlan* plan, const Launch& launch) {
  if (plan == nullptr) return forward(op, launch);
  Pieces pieces{launch.workspace};
  const ForwardScratch scratch(op, *plan, pieces);
  ConvolutionOperands operands{.x = op.x, .packed = op.packed, .bias = op.bias, .add = op.add, .y = op.y};
  if (scratch.bias != nullptr) {
    with_precision(op.shape.precision, [&]<Precision precision>() {
      using T = Element<precision>;
      LAUNCH(round_bias<T>, flat_blocks(op.shape.k, launch), kFlatThreads, 0, launch.stream)
      (op.bias, static_cast<T*>(scratch.bias), op.shape.k);
    });
    operands.bias = scratch.bias;
  }
  plan->execute(operands, scratch.plan, launch.stream);
}

// ---- input gradient

std::optional<ConvolutionRequest> request(const MaskedConv2dBackwardInput& op) {
  using enum Convolution;
  if (op.add != nullptr) {
    if (op.relu_output != nullptr) return std::nullopt;
    return ConvolutionRequest{kInputGradientAdd, op.shape};
  }
  return ConvolutionRequest{op.relu_output != nullptr ? kInputGradientThroughRelu : kInputGradient, op.shape};
}

void take_operands(MaskedConv2dBackwardInput& op, Pieces& pieces) {
  const int64_t element = element_bytes(op.shape.precision);
  pieces.take(op.grad_y, op.shape.y_count() * element);
  pieces.take(op.packed, packed_bytes(op.shape, Direction::kBackward));
  if (op.add != nullptr) pieces.take(op.add, op.shape.x_count() * element);
  if (op.relu_output != nullptr) pieces.take(op.relu_output, op.shape.x_count() * element);
  pieces.take(op.grad_x, op.shape.x_count() * element);
}

int64_t scratch_bytes(const MaskedConv2dBackwardInput&, const ConvolutionPlan* plan) {
  return plan != nullptr ? plan->workspace_bytes() : 0;
}

void enqueue(const MaskedConv2dBackwardInput& op, const ConvolutionPlan* plan, const Launch& launch) {
  if (plan == nullptr) return backward_input(op, launch);
  plan->execute({.packed = op.packed,
                 .add = op.add,
                 .grad_y = op.grad_y,
                 .relu_output = op.relu_output,
                 .grad_x = op.grad_x},
                launch.workspace, launch.stream);
  if (op.relu_output == nullptr || plan->convolution() == Convolution::kInputGradientThroughRelu) return;
  with_precision(op.shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    LAUNCH(zero_where_inactive<T>, flat_blocks(op.shape.x_count(), launch), kFlatThreads, 0, launch.stream)
    (static_cast<const T*>(op.relu_output), static_cast<T*>(op.grad_x), op.shape.x_count());
  });
}

// ---- weight gradient

std::optional<ConvolutionRequest> request(const MaskedConv2dBackwardWeight& op) {
  return ConvolutionRequest{Convolution::kWeightGradient, op.shape};
}

void take_operands(MaskedConv2dBackwardWeight& op, Pieces& pieces) {
  const int64_t element = element_bytes(op.shape.precision);
  pieces.take(op.x, op.shape.x_count() * element);
  pieces.take(op.grad_y, op.shape.y_count() * element);
  pieces.take(op.grad_weight, op.shape.weight_count() * int64_t{sizeof(float)});
  if (op.grad_bias != nullptr) pieces.take(op.grad_bias, op.shape.k * int64_t{sizeof(float)});
}

struct WeightGradientScratch {
  void* packed = nullptr;
  float* bias = nullptr;
  std::byte* plan = nullptr;

  WeightGradientScratch(const MaskedConv2dBackwardWeight& op, const ConvolutionPlan& with, Pieces& pieces) {
    MaskedConv2dShape shape = op.shape;
    if (with.convolution() == Convolution::kWeightGradient) shape.precision = Precision::kF32;
    pieces.take(packed, packed_bytes(shape, Direction::kForward));
    pieces.take(bias, bias_gradient_workspace(shape));
    pieces.take(plan, with.workspace_bytes());
  }
};

int64_t scratch_bytes(const MaskedConv2dBackwardWeight& op, const ConvolutionPlan* plan) {
  if (plan == nullptr) return backward_weight_workspace(op.shape);
  Pieces pieces{nullptr};
  WeightGradientScratch(op, *plan, pieces);
  return pieces.bytes;
}

void enqueue(const MaskedConv2dBackwardWeight& op, const ConvolutionPlan* plan, const Launch& launch) {
  if (plan == nullptr) return backward_weight(op, launch);
  Pieces pieces{launch.workspace};
  const WeightGradientScratch scratch(op, *plan, pieces);
  plan->execute({.x = op.x, .grad_y = op.grad_y, .grad_packed = scratch.packed}, scratch.plan, launch.stream);
  unpack_gradient(op, scratch.packed, 1, plan->convolution() == Convolution::kWeightGradientRounded, nullptr,
                  launch);
  if (op.grad_bias != nullptr) bias_gradient(op, scratch.bias, launch);
}

// ---- any of them

// Returns the request for which cuDNN may offer plans. It is empty if the direct algorithm is asked for, and
// for ops that no graph describes.
template <class Op>
std::optional<ConvolutionRequest> cudnn_request(const Op& op, const Cudnn* cudnn) {
  if (cudnn == nullptr || op.shape.algorithm == Algorithm::kDirect) return std::nullopt;
  return request(op);
}

template <class Op>
int64_t plan_op(const Op& op, const Gpu& gpu) {
  const ConvolutionPlan* plan = nullptr;
  if (const auto wanted = cudnn_request(op, gpu.cudnn)) {
    // A copy of the op with its own operands, so that it can be timed before the real ones exist.
    Op trial_op = op;
    Pieces operands{nullptr};
    take_operands(trial_op, operands);
    const auto bytes = [&](const ConvolutionPlan* with) { return operands.bytes + scratch_bytes(op, with); };
    const auto run_trial = [&](const ConvolutionPlan* with, std::byte* memory, cudaStream_t stream) {
      Pieces pieces{memory};
      take_operands(trial_op, pieces);
      enqueue(trial_op, with, {stream, memory + pieces.bytes, gpu.multiprocessors, gpu.cudnn});
    };
    plan = gpu.cudnn->prepare(*wanted, {bytes, run_trial});
  }
  return scratch_bytes(op, plan);
}

template <class Op>
void run_op(const Op& op, const Launch& launch) {
  const auto wanted = cudnn_request(op, launch.cudnn);
  enqueue(op, wanted ? launch.cudnn->find(*wanted) : nullptr, launch);
}

}  // namespace

int64_t workspace(const MaskedConv2d& op, const Gpu& gpu) { return plan_op(op, gpu); }
void run(const MaskedConv2d& op, const Launch& launch) { run_op(op, launch); }

int64_t workspace(const MaskedConv2dBackwardInput& op, const Gpu& gpu) { return plan_op(op, gpu); }
void run(const MaskedConv2dBackwardInput& op, const Launch& launch) { run_op(op, launch); }

int64_t workspace(const MaskedConv2dBackwardWeight& op, const Gpu& gpu) { return plan_op(op, gpu); }
void run(const MaskedConv2dBackwardWeight& op, const Launch& launch) { run_op(op, launch); }

}  // namespace pixelcnn::cuda
