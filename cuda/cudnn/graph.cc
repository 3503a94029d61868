// Builds the cuDNN graphs of masked convolutions.
#include "graph.h"

namespace pixelcnn::cuda {
namespace {

using Dimensions = std::vector<int64_t>;  // in cuDNN's order: N, C, H, W or K, C, R, S

cudnnDataType_t data_type(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return CUDNN_DATA_BFLOAT16;
    case Precision::kF16:
      return CUDNN_DATA_HALF;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

// Collects the descriptors of one graph. Sums and intermediate values are float32.
class Builder {
 public:
  Builder(const CudnnApi& api, const ConvolutionRequest& request)
      : api_(api), type_(data_type(request.shape.precision)) {
    const MaskedConv2dShape& s = request.shape;
    const Window& window = s.window;
    x_ = {s.n, s.c, s.h, s.w};
    y_ = {s.n, s.k, s.h, s.w};
    packed_ = {s.k, s.c, window.above + 1, window.columns};
    convolution_ = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    Descriptor& convolution = parts_[convolution_];
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
    convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Dimensions{window.above, window.left});
    convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Dimensions{0, window.right()});
    convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Dimensions{1, 1});
    convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, Dimensions{1, 1});
    convolution.finalize();
  }

  cudnnDataType_t type() const { return type_; }
  const Dimensions& x() const { return x_; }
  const Dimensions& y() const { return y_; }
  const Dimensions& packed() const { return packed_; }
  Dimensions bias() const { return {1, y_[1], 1, 1}; }

  // Adds a dense tensor with channels innermost.
  size_t tensor(TensorId id, const Dimensions& d, cudnnDataType_t type) {
    return make_tensor(id, d, type, false);
  }
  size_t intermediate(const Dimensions& d) {
    return make_tensor(kIntermediate + intermediates_++, d, CUDNN_DATA_FLOAT, true);
  }

  void forward(size_t x, size_t packed, size_t y) {
    Descriptor& op = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, parts_[convolution_]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, parts_[x]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, parts_[packed]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, parts_[y]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
    op.finalize();
  }
  void input_gradient(size_t grad_y, size_t packed, size_t grad_x) {
    Descriptor& op = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, parts_[convolution_]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, parts_[grad_y]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, parts_[packed]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, parts_[grad_x]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0f);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0f);
    op.finalize();
  }
  void weight_gradient(size_t x, size_t grad_y, size_t grad_packed) {
    Descriptor& op = operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, parts_[convolution_]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, parts_[x]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, parts_[grad_y]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, parts_[grad_packed]);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0f);
    op.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0f);
    op.finalize();
  }
  void add(size_t a, size_t b, size_t sum) {
    const size_t mode = pointwise(CUDNN_POINTWISE_ADD);
    Descriptor& op = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, parts_[mode]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, parts_[a]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, parts_[b]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, parts_[sum]);
    op.finalize();
  }
  void relu(size_t x, size_t y) {
    const size_t mode = pointwise(CUDNN_POINTWISE_RELU_FWD);
    Descriptor& op = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, parts_[mode]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, parts_[x]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, parts_[y]);
    op.finalize();
  }
  void relu_gradient(size_t grad_y, size_t x, size_t grad_x) {
    const size_t mode = pointwise(CUDNN_POINTWISE_RELU_BWD);
    Descriptor& op = operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, parts_[mode]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, parts_[grad_y]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, parts_[x]);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, parts_[grad_x]);
    op.finalize();
  }

  Graph finish(const CudnnTarget& target) {
    std::vector<cudnnBackendDescriptor_t> operations;
    for (const size_t i : operations_) operations.push_back(parts_[i].get());
    Descriptor graph(api_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              static_cast<int64_t>(operations.size()), operations.data());
    if (target.handle != nullptr) {
      graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
    }
    graph.finalize();
    return {std::move(parts_), std::move(graph)};
  }

 private:
  size_t make(cudnnBackendDescriptorType_t type) {
    parts_.emplace_back(api_, type);
    return parts_.size() - 1;
  }
  Descriptor& operation(cudnnBackendDescriptorType_t type) {
    operations_.push_back(make(type));
    return parts_[operations_.back()];
  }
  size_t pointwise(cudnnPointwiseMode_t mode) {
    const size_t part = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    parts_[part].set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    parts_[part].set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    const cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN;  // ReLU keeps NaN
    if (mode == CUDNN_POINTWISE_RELU_FWD) {
      parts_[part].set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_TYPE_NAN_PROPOGATION, 1, &nan);
    }
    parts_[part].finalize();
    return part;
  }
  size_t make_tensor(int64_t id, const Dimensions& d, cudnnDataType_t type, bool is_virtual) {
    const size_t part = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    Descriptor& tensor = parts_[part];
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, d);
    tensor.set(CUDNN_ATTR_TENSOR_STRIDES, Dimensions{d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]});
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{16});
    if (is_virtual) tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
    tensor.finalize();
    return part;
  }

  const CudnnApi& api_;
  cudnnDataType_t type_;
  Dimensions x_, y_, packed_;
  std::vector<Descriptor> parts_;
  size_t convolution_;
  std::vector<size_t> operations_;
  int64_t intermediates_ = 0;
};

}  // namespace

const char* name_of(Convolution convolution) {
  using enum Convolution;
  switch (convolution) {
    case kForward:
      return "forward";
    case kForwardRelu:
      return "forward+relu";
    case kForwardAdd:
      return "forward+add";
    case kForwardAddRelu:
      return "forward+add+relu";
    case kForwardWithoutBias:
      return "forward-without-bias";
    case kInputGradient:
      return "input-gradient";
    case kInputGradientAdd:
      return "input-gradient+add";
    case kInputGradientThroughRelu:
      return "input-gradient+gate";
    case kWeightGradient:
      return "weight-gradient";
    case kWeightGradientRounded:
      return "weight-gradient-rounded";
  }
  return "";
}

std::string describe(const ConvolutionRequest& request) {
  static constexpr const char* kPrecisions[] = {"f32", "tf32", "bf16", "f16"};
  const MaskedConv2dShape& s = request.shape;
  const Window& window = s.window;
  const auto text = [](int value) { return std::to_string(value); };
  return std::string(kPrecisions[static_cast<int>(s.precision)]) + " " + name_of(request.convolution) +
         " n=" + text(s.n) + " " + text(s.h) + "x" + text(s.w) + " c=" + text(s.c) + " k=" + text(s.k) + " " +
         text(window.above + 1) + "x" + text(window.columns) +
         (window.left == window.right() ? "" : " left=" + text(window.left));
}

std::vector<TensorId> tensors_of(Convolution convolution, Precision precision) {
  using enum Convolution;
  switch (convolution) {
    case kForward:
    case kForwardRelu:
      return {kX, kPacked, kBias, kY};
    case kForwardAdd:
    case kForwardAddRelu:
      return {kX, kPacked, kAdd, kBias, kY};
    case kForwardWithoutBias:
      return {kX, kPacked, kY};
    case kInputGradient:
      return {kGradY, kPacked, kGradX};
    case kInputGradientAdd:
      return {kGradY, kPacked, kAdd, kGradX};
    case kInputGradientThroughRelu:
      return {kGradY, kPacked, kReluOutput, kGradX};
    case kWeightGradientRounded:
      return {kX, kGradY, kGradPacked};
    case kWeightGradient:
      if (element_bytes(precision) == 4) return {kX, kGradY, kGradPacked};
      return {kX, kGradY, kZero, kGradPacked};
  }
  return {};
}

Descriptor device_properties(const CudnnApi& api, const std::string& json) {
  Descriptor properties(api, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
  properties.finalize();
  return properties;
}

Graph build_graph(const CudnnApi& api, const CudnnTarget& target, const ConvolutionRequest& request) {
  using enum Convolution;
  const Convolution convolution = request.convolution;
  Builder b(api, request);
  switch (convolution) {
    // cuDNN has precompiled engines for the order conv, + add, + bias, ReLU, with float32 in between and the
    // bias in the element type. Graphs with another order or other types are compiled at run time.
    case kForward:
    case kForwardRelu:
    case kForwardAdd:
    case kForwardAddRelu: {
      const bool with_add = convolution == kForwardAdd || convolution == kForwardAddRelu;
      const bool with_relu = convolution == kForwardRelu || convolution == kForwardAddRelu;
      const size_t x = b.tensor(kX, b.x(), b.type()), packed = b.tensor(kPacked, b.packed(), b.type());
      const size_t bias = b.tensor(kBias, b.bias(), b.type()), y = b.tensor(kY, b.y(), b.type());
      const size_t product = b.intermediate(b.y());
      const size_t added = with_add ? b.intermediate(b.y()) : product;
      const size_t sum = with_relu ? b.intermediate(b.y()) : y;
      b.forward(x, packed, product);
      if (with_add) b.add(product, b.tensor(kAdd, b.y(), b.type()), added);
      b.add(added, bias, sum);
      if (with_relu) b.relu(sum, y);
      break;
    }
    case kForwardWithoutBias:
      b.forward(b.tensor(kX, b.x(), b.type()), b.tensor(kPacked, b.packed(), b.type()),
                b.tensor(kY, b.y(), b.type()));
      break;
    case kInputGradient:
    case kInputGradientAdd:
    case kInputGradientThroughRelu: {
      const bool with_add = convolution == kInputGradientAdd;
      const bool through_relu = convolution == kInputGradientThroughRelu;
      const size_t grad_y = b.tensor(kGradY, b.y(), b.type()),
                   packed = b.tensor(kPacked, b.packed(), b.type());
      const size_t grad_x = b.tensor(kGradX, b.x(), b.type());
      const size_t product = with_add || through_relu ? b.intermediate(b.x()) : grad_x;
      b.input_gradient(grad_y, packed, product);
      if (with_add) b.add(product, b.tensor(kAdd, b.x(), b.type()), grad_x);
      if (through_relu) b.relu_gradient(product, b.tensor(kReluOutput, b.x(), b.type()), grad_x);
      break;
    }
    // cuDNN offers few engines for the plain graph from 16-bit factors to float32. It offers more if a
    // float32 tensor is added to the product.
    case kWeightGradient:
    case kWeightGradientRounded: {
      const bool plain = convolution == kWeightGradientRounded || element_bytes(request.shape.precision) == 4;
      const size_t x = b.tensor(kX, b.x(), b.type()), grad_y = b.tensor(kGradY, b.y(), b.type());
      const size_t grad_packed = b.tensor(kGradPacked, b.packed(), plain ? b.type() : CUDNN_DATA_FLOAT);
      const size_t product = plain ? grad_packed : b.intermediate(b.packed());
      b.weight_gradient(x, grad_y, product);
      if (!plain) b.add(product, b.tensor(kZero, {1, 1, 1, 1}, CUDNN_DATA_FLOAT), grad_packed);
      break;
    }
  }
  return b.finish(target);
}

}  // namespace pixelcnn::cuda
