// Defines a masked convolution in either direction, as both algorithms take it.
#pragma once
#include "../ops.h"
#include "element.h"
#include "kernels.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// Forward: y = conv(x) + bias + add, then ReLU if `relu`. Backward: y is the gradient of the input + add,
// and 0 where relu_output <= 0.
template <class Out>
struct Convolution {
  const MaskedConv2dShape& shape;
  Direction direction;
  const Element* x;
  const void* packed;
  const float* bias;           // or null
  const Out* add;              // like y, or null
  const Element* relu_output;  // or null
  bool relu;
  Out* y;

  int inputs() const { return direction == Direction::kForward ? shape.c : shape.k; }
  int outputs() const { return direction == Direction::kForward ? shape.k : shape.c; }
};

// The weight gradient by the direct algorithm.
int64_t direct_gradient_workspace(const MaskedConv2dShape& shape, int threads);
void direct_gradient(const MaskedConv2dBackwardWeight& op, Context& context);

// Computes the pixels of a region that is not the whole image.
void convolve_region(const MaskedConv2d& op, Context& context);

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
