// Splits the pixels of a batch into parts, which are summed separately. The parts depend on the shape
// only, so that the order of additions, and with it the bits of a gradient, does not depend on the GPU.
#pragma once
#include <cstdint>

#include "tile.h"

namespace pixelcnn::cuda {

constexpr int kLeastPixels = 64;  // in a part
// Parts are sized for an H100, which has this many multiprocessors: it runs all blocks at once, with none
// left over for a second round. A smaller GPU takes several rounds, and an incomplete last one matters
// less there.
constexpr int kMultiprocessors = 132;

// Says how the pixels are split: each part takes `blocks_per_part` blocks, and there are as many parts as
// `blocks` allow.
struct Parts {
  int64_t pixels;  // in a part
  int count;

  Parts(int64_t all, int64_t blocks, int64_t blocks_per_part) {
    const int64_t most = blocks > blocks_per_part ? blocks / blocks_per_part : 1;
    pixels = blocks_of(blocks_of(all, most), kLeastPixels) * kLeastPixels;
    count = static_cast<int>(blocks_of(all, pixels));
  }
};

}  // namespace pixelcnn::cuda
