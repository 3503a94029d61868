// Runs the masked convolution at the pixels of one of the sampler's regions.
//
// The tensors include their own zero border, which replaces bounds checks. The sums have the same bits as
// those of the kernel for whole images.
#include "masked_conv2d_convolve.h"
#include "region.h"

namespace pixelcnn::cuda {

void forward_in_region(const MaskedConv2d& op, const Launch& launch, std::optional<TileSize> tile) {
  const auto launch_at = [&]<class Pixels>() {
    launch_forward(op, Pixels(op.region, op.shape.n, op.shape.h, op.shape.w, op.position), launch, tile);
  };
  if (op.region.pixels == Region::Pixels::kRow)
    launch_at.template operator()<RowPixels>();
  else
    launch_at.template operator()<FrontPixels>();
}

}  // namespace pixelcnn::cuda
