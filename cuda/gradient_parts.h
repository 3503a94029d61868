// How the pixels of a batch are split into parts for sums over all of them: by the shape alone, so that the
// order of additions, and with it the bits of a gradient, do not depend on the size of the GPU.
#pragma once
#include <cstdint>

#include "tile.h"

namespace pixelcnn::cuda {

constexpr int kLeastPixels = 64;  // of a part
// Parts are sized for an H100, which has so many multiprocessors: it runs all blocks at once, with no few
// left over for a second round. A smaller GPU takes several rounds, of which an incomplete last one matters
// less.
constexpr int kMultiprocessors = 132;

// How the pixels are split. A part takes `blocks_per_part` blocks; there are as many parts as `blocks` allow.
struct Parts {
  int64_t pixels;  // of a part
  int count;

  Parts(int64_t all, int64_t blocks, int64_t blocks_per_part) {
    const int64_t most = blocks > blocks_per_part ? blocks / blocks_per_part : 1;
    pixels = blocks_of(blocks_of(all, most), kLeastPixels) * kLeastPixels;
    count = static_cast<int>(blocks_of(all, pixels));
  }
};

}  // namespace pixelcnn::cuda
