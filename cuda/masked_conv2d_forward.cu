// Runs the masked convolution of whole images: forward with bias and ReLU, and the input gradient.
#include "masked_conv2d_convolve.h"

namespace pixelcnn::cuda {

void forward(const MaskedConv2dForward& op, const Launch& launch, std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {.x = static_cast<const T*>(op.x),
                                       .weights = static_cast<const T*>(op.packed),
                                       .bias = op.bias,
                                       .y = op.y,
                                       .taps = TapIndex(shape, Direction::kForward, shape.w),
                                       .outputs = shape.k,
                                       .end_output = shape.k,
                                       .c = shape.c,
                                       .slots = filter_slots(shape),
                                       .relu = op.relu != 0,
                                       .float_y = op.float_y != 0};
    const ImagePixels pixels(shape, Direction::kForward);
    launch_in_tiles<precision, Direction::kForward>(conv, pixels, pixels.count(), launch, tile);
  });
}

void backward_input(const MaskedConv2dBackwardInput& op, const Launch& launch, std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {.x = static_cast<const T*>(op.grad_y),
                                       .weights = static_cast<const T*>(op.packed),
                                       .relu_output = static_cast<const T*>(op.relu_output),
                                       .y = op.grad_x,
                                       .taps = TapIndex(shape, Direction::kBackward, shape.w),
                                       .outputs = shape.c,
                                       .end_output = shape.c,
                                       .c = shape.c,
                                       .slots = filter_slots(shape)};
    const ImagePixels pixels(shape, Direction::kBackward);
    launch_in_tiles<precision, Direction::kBackward>(conv, pixels, pixels.count(), launch, tile);
  });
}

}  // namespace pixelcnn::cuda
