// Which block tile a convolution is computed with: the one that a small model of an H100 finds faster. Only
// the host chooses, and every tile gives the same bits, so a poor choice costs time and nothing else.
//
// A tile takes the longest of three times, each as if the others were free: issuing the instructions of the
// busiest multiprocessor, moving operands from L2, and waiting for copies that depend on one another. What it
// counts is explained with scripts/gpu-acceptance/gpu-model.mjs, which predicts whole steps in the same way.
#pragma once
#include <cstdint>

#include "tile.h"

namespace pixelcnn::cuda {

enum class TileSize { kLarge, kSmall };

// A product as the convolution kernels see it.
struct ProductShape {
  int64_t rows;
  int columns;
  int64_t depth_bytes;  // of one row or column
  bool tensor_cores;
};

struct TileCost {
  int64_t blocks;
  int64_t waves;     // of blocks that the device holds at once
  int64_t l2_bytes;  // from L2 into shared memory
  double clocks;     // of a multiprocessor
};

namespace tile_model {
constexpr int kSchedulers = 4;      // of a multiprocessor, each issues an instruction per clock
constexpr double kDependent = 2.5;  // clocks between instructions of a warp that has its scheduler alone
constexpr double kL2Bytes = 24;     // per clock and multiprocessor
constexpr double kL2Clocks = 560;   // from asking L2 to having the answer, under load
constexpr int kStepInstructions =
    90;  // of a warp for a stage: copies and their addresses, barrier, fragments
constexpr int kComputeCapability = 90;  // whose shared memory decides how many blocks there is room for
}  // namespace tile_model

// `Shape` is the tile, kSharedBytes what a block of it takes.
template <class Shape>
constexpr TileCost tile_cost(const ProductShape& product, int shared_bytes, int multiprocessors) {
  using namespace tile_model;
  constexpr int kWarps = Shape::kRows / Shape::kWarpRows * (Shape::kColumns / Shape::kWarpColumns);
  const int resident = blocks_per_multiprocessor(kComputeCapability, 32 * kWarps, shared_bytes);
  const int64_t down = (product.rows + Shape::kRows - 1) / Shape::kRows,
                across = (product.columns + Shape::kColumns - 1) / Shape::kColumns,
                steps = (product.depth_bytes + Shape::kDepthBytes - 1) / Shape::kDepthBytes,
                blocks = down * across, busiest = (blocks + multiprocessors - 1) / multiprocessors,
                waves = (busiest + resident - 1) / resident;
  // A warp's products of a stage: by mma 16 x 8 x 32 bytes at once, else one for each lane.
  const int products = Shape::kWarpRows * Shape::kWarpColumns * Shape::kDepthBytes /
                       (product.tensor_cores ? 16 * 8 * 32 : 32 * 4);
  const auto slots = [](int64_t count) {
    const double warps = static_cast<double>(count * kWarps) / kSchedulers;
    return count == 0 ? 0 : warps > kDependent ? warps : kDependent;
  };
  const double issue =
      static_cast<double>(steps * (kStepInstructions + products)) *
      (static_cast<double>(busiest / resident) * slots(resident) + slots(busiest % resident));
  const int64_t bytes = (across * product.rows + down * product.columns) * product.depth_bytes;
  const double l2 = static_cast<double>(bytes) / (kL2Bytes * multiprocessors);
  const double latency = static_cast<double>(waves) * kL2Clocks *
                         (Shape::kStages - 1 + static_cast<double>(steps) / (Shape::kStages - 1));
  const double issue_or_l2 = issue > l2 ? issue : l2;
  return {blocks, waves, bytes, issue_or_l2 > latency ? issue_or_l2 : latency};
}

}  // namespace pixelcnn::cuda
