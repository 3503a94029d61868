// Masked convolution at the pixels of the sampler's front, for the output channels of one group.
//
// The buffers carry their own zero border, which takes the place of bounds checks; the sums are those of the
// kernel that convolves whole images, bit for bit.
#include "front.h"
#include "masked_conv2d_convolve.h"

namespace pixelcnn::cuda {

void front(const MaskedConv2dFront& op, const Launch& launch, std::optional<TileSize> tile) {
  const MaskedConv2dShape& shape = op.shape;
  const FrontPixels pixels(op.front, shape.n, shape.h, shape.w, op.step, op.ahead);
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ConvolveArguments<T> conv = {static_cast<const T*>(op.x),
                                       static_cast<const T*>(op.packed),
                                       op.bias,
                                       nullptr,
                                       op.y,
                                       TapIndex(shape, Direction::kForward, pixels.pitch()),
                                       shape.k,
                                       first_channel(op.group, shape.groups, shape.k),
                                       first_channel(op.group + 1, shape.groups, shape.k),
                                       shape.c,
                                       filter_slots(shape),
                                       true,
                                       false};
    launch_in_tiles<precision, Direction::kForward>(conv, pixels, pixels.most(), launch, tile);
  });
}

int64_t workspace(const MaskedConv2dFront&, const Gpu&) { return 0; }
void run(const MaskedConv2dFront& op, const Launch& launch) { front(op, launch); }

}  // namespace pixelcnn::cuda
