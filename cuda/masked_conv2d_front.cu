// Runs the masked convolution at the pixels of the sampler's front, for the output channels of one group.
//
// The tensors include their own zero border, which replaces bounds checks. The sums have the same bits as
// those of the kernel for whole images.
#include "front.h"
#include "masked_conv2d_convolve.h"

namespace pixelcnn::cuda {

void front(const MaskedConv2dFront& op, const Launch& launch, std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  const FrontPixels pixels(op.front, shape.n, shape.h, shape.w, op.position, op.ahead);
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {
        .x = static_cast<const T*>(op.x),
        .weights = static_cast<const T*>(op.packed),
        .bias = op.bias,
        .y = op.y,
        .taps = TapIndex(shape, Direction::kForward, pixels.pitch()),
        .outputs = shape.k,
        .first_output = first_channel(op.group, shape.channel_groups, shape.k),
        .end_output = first_channel(op.group + 1, shape.channel_groups, shape.k),
        .c = shape.c,
        .slots = filter_slots(shape),
        .relu = true};
    launch_in_tiles<precision, Direction::kForward>(conv, pixels, pixels.most(), launch, tile);
  });
}

int64_t workspace(const MaskedConv2dFront&, const Gpu&) { return 0; }
void run(const MaskedConv2dFront& op, const Launch& launch) { front(op, launch); }

}  // namespace pixelcnn::cuda
