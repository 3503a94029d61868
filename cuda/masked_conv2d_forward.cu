// Masked convolution of whole images: forward with bias and ReLU, and the input gradient with its gate.
#include "masked_conv2d_convolve.h"

namespace pixelcnn::cuda {

namespace {

template <Precision precision, Direction direction>
void convolve_images(const ConvolveArguments<Element<precision>>& conv, const MaskedConv2dShape& shape,
                     const Launch& launch) {
  const ImagePixels pixels(shape);
  if (takes_large_tiles(pixels.count(), conv.outputs, launch.multiprocessors))
    launch_convolve<precision, direction, LargeTile>(conv, pixels, pixels.count(), launch);
  else
    launch_convolve<precision, direction, SmallTile>(conv, pixels, pixels.count(), launch);
}

}  // namespace

void forward(const MaskedConv2dForward& op, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {static_cast<const T*>(op.x),
                                       static_cast<const T*>(op.packed),
                                       op.bias,
                                       nullptr,
                                       op.y,
                                       TapIndex(shape, Direction::kForward),
                                       shape.k,
                                       0,
                                       shape.k,
                                       shape.c,
                                       filter_slots(shape),
                                       op.relu != 0,
                                       op.float_y != 0};
    convolve_images<precision, Direction::kForward>(conv, shape, launch);
  });
}

void backward_input(const MaskedConv2dBackwardInput& op, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {static_cast<const T*>(op.grad_y),
                                       static_cast<const T*>(op.packed),
                                       nullptr,
                                       static_cast<const T*>(op.gate),
                                       op.grad_x,
                                       TapIndex(shape, Direction::kBackward),
                                       shape.c,
                                       0,
                                       shape.c,
                                       shape.c,
                                       filter_slots(shape),
                                       false,
                                       false};
    convolve_images<precision, Direction::kBackward>(conv, shape, launch);
  });
}

}  // namespace pixelcnn::cuda
