// Masked convolution of whole images: forward with bias and ReLU, and the input gradient with its gate.
#include "masked_conv2d_convolve.h"

namespace pixelcnn::cuda {

void forward(const MaskedConv2dForward& op, const Launch& launch, std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {static_cast<const T*>(op.x),
                                       static_cast<const T*>(op.packed),
                                       op.bias,
                                       nullptr,
                                       op.y,
                                       TapIndex(shape, Direction::kForward, shape.w),
                                       shape.k,
                                       0,
                                       shape.k,
                                       shape.c,
                                       filter_slots(shape),
                                       op.relu != 0,
                                       op.float_y != 0};
    const ImagePixels pixels(shape, Direction::kForward);
    launch_in_tiles<precision, Direction::kForward>(conv, pixels, pixels.count(), launch, tile);
  });
}

void backward_input(const MaskedConv2dBackwardInput& op, const Launch& launch, std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {static_cast<const T*>(op.grad_y),
                                       static_cast<const T*>(op.packed),
                                       nullptr,
                                       static_cast<const T*>(op.gate),
                                       op.grad_x,
                                       TapIndex(shape, Direction::kBackward, shape.w),
                                       shape.c,
                                       0,
                                       shape.c,
                                       shape.c,
                                       filter_slots(shape),
                                       false,
                                       false};
    const ImagePixels pixels(shape, Direction::kBackward);
    launch_in_tiles<precision, Direction::kBackward>(conv, pixels, pixels.count(), launch, tile);
  });
}

}  // namespace pixelcnn::cuda
