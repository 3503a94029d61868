// Runs the masked convolution of whole images: forward with bias, addend and ReLU, and the input gradient.
#include "masked_conv2d_convolve.h"

namespace pixelcnn::cuda {

void forward(const MaskedConv2d& op, const Launch& launch, std::optional<TileSize> tile) {
  if (op.region.is_image())
    launch_forward(op, ImagePixels(op.shape, Direction::kForward), launch, tile);
  else
    forward_in_region(op, launch, tile);
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
    launch_in_tiles<precision, Direction::kBackward>(conv, op.add, pixels, launch, tile);
  });
}

}  // namespace pixelcnn::cuda
