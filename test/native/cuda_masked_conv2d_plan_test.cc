// Tests the work around a plan of cuDNN, with loops in the place of cuDNN: rounding the bias, applying the
// ReLU's gradient, unpacking weight gradients, and dividing scratch memory. Values are small integers, so
// results must equal those of our kernels bit for bit.
//   cuda_masked_conv2d_plan_test [shapes=100] [seed=1]
#include <cstdio>
#include <cstdlib>

#include "../../cuda/cudnn/plans.h"
#include "cuda_fixture.h"
#include "kernels_reference.h"

namespace pixelcnn::test {
namespace {

using cuda::Convolution;
using Floats = std::vector<float>;

class LoopPlan : public cuda::ConvolutionPlan {
 public:
  LoopPlan(Convolution convolution, const MaskedConv2dShape& shape)
      : convolution_(convolution), shape_(shape) {}

  Convolution convolution() const override { return convolution_; }
  int64_t workspace_bytes() const override { return kWorkspace; }
  const std::string& engine() const override { return engine_; }
  void execute(const cuda::ConvolutionOperands& operands, std::byte* workspace, cudaStream_t) const override {
    const std::vector<std::byte> scratch(kWorkspace, std::byte{0x5a});  // the workspace is the plan's own
    PIXELCNN_CUDA(cudaMemcpy(workspace, scratch.data(), kWorkspace, cudaMemcpyHostToDevice));
    switch (convolution_) {
      case Convolution::kForward:
      case Convolution::kForwardRelu:
      case Convolution::kForwardAdd:
      case Convolution::kForwardAddRelu:
      case Convolution::kForwardWithoutBias:
        return forward(operands);
      case Convolution::kInputGradient:
      case Convolution::kInputGradientAdd:
      case Convolution::kInputGradientThroughRelu:
        return input_gradient(operands);
      case Convolution::kWeightGradient:
      case Convolution::kWeightGradientRounded:
        return weight_gradient(operands);
    }
  }

 private:
  static constexpr int64_t kWorkspace = 200;

  Floats read(const void* from, int64_t count) const {
    std::vector<std::byte> bytes(count * element_bytes(shape_.precision));
    PIXELCNN_CUDA(cudaMemcpy(bytes.data(), from, bytes.size(), cudaMemcpyDeviceToHost));
    return from_storage(bytes, shape_.precision);
  }
  void write(void* to, const Floats& values, Precision precision) const {
    const std::vector<std::byte> bytes = to_storage(values, precision);
    PIXELCNN_CUDA(cudaMemcpy(to, bytes.data(), bytes.size(), cudaMemcpyHostToDevice));
  }
  int64_t packed_count() const {
    return cuda::packed_bytes(shape_, Direction::kForward) / element_bytes(shape_.precision);
  }
  // Calls body(x index, y index, packed index): a dense convolution by window.above + 1 rows, as cuDNN's is.
  template <class Body>
  void for_each_product(const Body& body) const {
    MaskedConv2dShape dense = shape_;
    dense.window.own_row = OwnRow::kAll;
    const int window = shape_.window.weights(), slots = (shape_.window.above + 1) * shape_.window.columns;
    reference::for_each_product(dense, [&](int64_t from, int64_t to, int64_t weight) {
      const int64_t slot = weight % window, kc = weight / window;
      body(from, to, (kc / shape_.c * slots + slot) * shape_.c + kc % shape_.c);
    });
  }

  void forward(const cuda::ConvolutionOperands& operands) const {
    using enum Convolution;
    const Floats x = read(operands.x, shape_.x_count()), w = read(operands.packed, packed_count());
    Floats y(shape_.y_count());
    if (convolution_ == kForwardAdd || convolution_ == kForwardAddRelu)
      y = read(operands.add, shape_.y_count());
    if (convolution_ != kForwardWithoutBias) {
      const Floats bias = read(operands.bias, shape_.k);
      for (int64_t i = 0; i < shape_.y_count(); ++i) y[i] += bias[i % shape_.k];
    }
    for_each_product([&](int64_t from, int64_t to, int64_t at) { y[to] += x[from] * w[at]; });
    const bool relu = convolution_ == kForwardRelu || convolution_ == kForwardAddRelu;
    for (float& value : y) value = relu ? std::max(value, 0.f) : value;
    write(operands.y, y, shape_.precision);
  }
  void input_gradient(const cuda::ConvolutionOperands& operands) const {
    const Floats grad_y = read(operands.grad_y, shape_.y_count()), w = read(operands.packed, packed_count());
    Floats grad_x(shape_.x_count());
    if (convolution_ == Convolution::kInputGradientAdd) grad_x = read(operands.add, shape_.x_count());
    for_each_product([&](int64_t from, int64_t to, int64_t at) { grad_x[from] += grad_y[to] * w[at]; });
    if (convolution_ == Convolution::kInputGradientThroughRelu) {
      const Floats relu_output = read(operands.relu_output, shape_.x_count());
      for (size_t i = 0; i < relu_output.size(); ++i) grad_x[i] = relu_output[i] <= 0 ? 0 : grad_x[i];
    }
    write(operands.grad_x, grad_x, shape_.precision);
  }
  void weight_gradient(const cuda::ConvolutionOperands& operands) const {
    const Floats x = read(operands.x, shape_.x_count()), grad_y = read(operands.grad_y, shape_.y_count());
    Floats grad(packed_count());
    for_each_product([&](int64_t from, int64_t to, int64_t at) { grad[at] += x[from] * grad_y[to]; });
    const bool rounded = convolution_ == Convolution::kWeightGradientRounded;
    write(operands.grad_packed, grad, rounded ? shape_.precision : Precision::kF32);
  }

  Convolution convolution_;
  MaskedConv2dShape shape_;
  std::string engine_ = "loops";
};

// Offers one plan, after it has tried it and our kernels as the real one does.
class LoopCudnn : public cuda::Cudnn {
 public:
  explicit LoopCudnn(bool least) : least_(least) {}

  const cuda::ConvolutionPlan* prepare(const cuda::ConvolutionRequest& request,
                                       const cuda::ConvolutionTrial& trial) override {
    ++requests_;
    Convolution convolution = request.convolution;
    if (least_ && convolution == Convolution::kInputGradientThroughRelu)
      convolution = Convolution::kInputGradient;
    if (least_ && convolution == Convolution::kWeightGradient &&
        request.shape.precision == Precision::kBf16) {
      convolution = Convolution::kWeightGradientRounded;
    }
    plan_ = std::make_unique<LoopPlan>(convolution, request.shape);
    requested_ = request.convolution;
    for (const cuda::ConvolutionPlan* plan : {static_cast<const cuda::ConvolutionPlan*>(plan_.get()),
                                              static_cast<const cuda::ConvolutionPlan*>(nullptr)}) {
      const DeviceBuffer<std::byte> memory(std::vector<std::byte>(trial.bytes(plan)));
      trial.enqueue(plan, memory, nullptr);
    }
    return plan_.get();
  }
  int requests() const { return requests_; }
  const cuda::ConvolutionPlan* find(const cuda::ConvolutionRequest& request) const override {
    return request.convolution == requested_ ? plan_.get() : nullptr;
  }
  std::vector<std::unique_ptr<cuda::ConvolutionPlan>> candidates(const cuda::ConvolutionRequest&) override {
    return {};
  }
  void exclude(const std::string&) override {}

 private:
  bool least_;  // the plan computes as little as it may
  int requests_ = 0;
  Convolution requested_ = Convolution::kForward;
  std::unique_ptr<LoopPlan> plan_;
};

class PlanTest {
 public:
  PlanTest(const MaskedConv2dShape& shape, Random& random, Report& report)
      : shape_(shape),
        random_(random),
        report_(report),
        name_(describe(shape) + " " + name_of(shape.precision)),
        cudnn_(random.chance(0.5)) {}

  void run() {
    const DeviceBuffer<float> weight(integers(shape_.weight_count())), bias(integers(shape_.k));
    const DeviceBuffer<std::byte> packed(cuda::packed_bytes(shape_, Direction::kForward)),
        x(activations(shape_.x_count())), grad_y(activations(shape_.y_count())),
        relu_output(activations(shape_.x_count()));
    run_on_device(MaskedConv2dPack{{{weight, packed, shape_, Direction::kForward}}, 1}, test_gpu());
    const int64_t element = element_bytes(shape_.precision);
    const int relu = random_.integer(0, 1);
    const std::byte* relu_output_or_null =
        random_.chance(0.5) ? static_cast<std::byte*>(relu_output) : nullptr;

    const DeviceBuffer<std::byte> add(activations(shape_.y_count())), add_x(activations(shape_.x_count()));
    compare<std::byte>("forward", shape_.y_count() * element,
                       [&](void* y) { return forward(x, packed, bias, nullptr, y, relu); });
    compare<std::byte>("forward with an addend", shape_.y_count() * element,
                       [&](void* y) { return forward(x, packed, bias, add, y, relu); });
    compare<std::byte>("forward without bias", shape_.y_count() * element,
                       [&](void* y) { return forward(x, packed, nullptr, nullptr, y, 0); });
    compare<std::byte>("input gradient", shape_.x_count() * element, [&](void* grad_x) {
      return MaskedConv2dBackwardInput{grad_y, packed, nullptr, relu_output_or_null, grad_x, shape_};
    });
    compare<std::byte>("input gradient with an addend", shape_.x_count() * element, [&](void* grad_x) {
      return MaskedConv2dBackwardInput{grad_y, packed, add_x, nullptr, grad_x, shape_};
    });
    const int64_t weights = shape_.weight_count();
    compare<float>("weight gradient", weights + shape_.k, [&](float* gradients) {
      return MaskedConv2dBackwardWeight{x, grad_y, gradients, gradients + weights, shape_};
    });
    compare<float>("weight gradient without bias", weights, [&](float* gradients) {
      return MaskedConv2dBackwardWeight{x, grad_y, gradients, nullptr, shape_};
    });

    // No graph of cuDNN describes these.
    const DeviceBuffer<std::byte> y(shape_.y_count() * element), grad_x(shape_.x_count() * element);
    runs_without_plan("a ReLU alone", forward(x, packed, nullptr, nullptr, y, 1));
    runs_without_plan("an addend and no bias", forward(x, packed, nullptr, add, y, relu));
    runs_without_plan("an addend and a ReLU's output",
                      MaskedConv2dBackwardInput{grad_y, packed, add_x, relu_output, grad_x, shape_});
    MaskedConv2d direct = forward(x, packed, bias, nullptr, y, relu);
    direct.shape.algorithm = Algorithm::kDirect;
    runs_without_plan("the direct algorithm", direct);
  }

 private:
  MaskedConv2d forward(const void* x, const void* packed, const float* bias, const void* add, void* y,
                       int relu) const {
    return {.x = x,
            .packed = packed,
            .bias = bias,
            .add = add,
            .position = nullptr,
            .y = y,
            .shape = shape_,
            .region = {},
            .relu = relu};
  }
  template <class Op>
  void runs_without_plan(const char* what, const Op& op) {
    const int before = cudnn_.requests();
    cuda::Gpu gpu = test_gpu();
    gpu.cudnn = &cudnn_;
    run_on_device(op, gpu);
    report_.check(cudnn_.requests() == before, std::string("no plan with ") + what + " " + name_);
  }

  Floats integers(int64_t count) {
    Floats values(count);
    for (float& value : values) value = static_cast<float>(random_.integer(-2, 2));
    return values;
  }
  std::vector<std::byte> activations(int64_t count) { return to_storage(integers(count), shape_.precision); }

  // The op by the plan and by our kernels. Rounded weight gradients are small enough to be exact.
  template <class T, class MakeOp>
  void compare(const char* what, int64_t count, const MakeOp& make_op) {
    const DeviceBuffer<T> by_plan(count), by_us(count);
    cuda::Gpu gpu = test_gpu();
    run_on_device(make_op(by_us), gpu);
    gpu.cudnn = &cudnn_;
    const int before = cudnn_.requests();
    run_on_device(make_op(by_plan), gpu);
    report_.check(cudnn_.requests() == before + 1, what + (" asks for a plan " + name_));
    report_.check(same_values(by_plan.read(), by_us.read()), what + (" by a plan " + name_));
  }
  static bool same_values(const Floats& a, const Floats& b) { return a == b; }
  bool same_values(const std::vector<std::byte>& a, const std::vector<std::byte>& b) const {
    return from_storage(a, shape_.precision) == from_storage(b, shape_.precision);
  }

  MaskedConv2dShape shape_;
  Random& random_;
  Report& report_;
  std::string name_;
  LoopCudnn cudnn_;
};

int run_tests(int shapes, uint64_t seed) {
  Random random(seed);
  Report report;
  for (int i = 0; i < shapes; ++i) {
    const int groups = random.integer(1, 3);
    const int n = random.integer(1, 2), h = random.integer(1, 5), w = random.integer(1, 5);
    const int pairs = random.chance(0.3);
    const FilterShape filter = {random.integer(groups, 9),
                                random.integer(groups, 9) * (pairs ? 2 : 1),
                                random_window(random),
                                groups,
                                Algorithm::kAuto,
                                static_cast<Precision>(i % 4),
                                pairs};
    const MaskedConv2dShape shape = {filter, n, h, w};
    PlanTest(shape, random, report).run();
  }
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  return pixelcnn::test::run_tests(argc > 1 ? std::atoi(argv[1]) : 100,
                                   argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
