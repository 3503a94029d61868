// Chooses the block tile of a convolution: the one that a small model of an H100 expects to be faster.
// Every tile gives the same bits, so a poor choice only costs time.
//
// The model takes the longest of five times, each computed as if the other four were zero: the time that
// the busiest multiprocessor needs to issue its instructions, to multiply, and to move operands through
// shared memory; the time that the device needs to move them from L2; and the time that a block waits for
// copies that depend on one another. scripts/gpu-acceptance/gpu-model.mjs predicts whole steps in the same
// way and explains the numbers.
#pragma once
#include <algorithm>
#include <cstdint>

#include "tile.h"

namespace pixelcnn::cuda {

enum class TileSize { kLarge, kSmall };

// The product that a convolution kernel computes.
struct ProductShape {
  int64_t rows;
  int columns;
  int64_t depth_bytes;  // of one row or column
  bool tensor_cores;
};

struct TileCost {
  int64_t blocks;
  int64_t waves;    // rounds of the blocks that the device runs at once
  double l2_bytes;  // moved from L2 into shared memory
  double clocks;    // of a multiprocessor
};

namespace tile_model {
constexpr int kComputeCapability = 90;  // its shared memory decides how many blocks fit
constexpr int kSchedulers = 4;          // on a multiprocessor; each issues one instruction per clock
constexpr double kDependent = 2.5;  // clocks between two instructions of a warp that has its scheduler alone
// Instructions of a warp per stage besides its products: copies and their addresses, the barrier, loads of
// fragments.
constexpr int kStepInstructions = 90;
constexpr int kMmaFlops = 2670;    // per clock, of the tensor cores of a multiprocessor
constexpr int kSharedBytes = 128;  // per clock, of its shared memory
constexpr double kL2Bytes = 24;    // per clock and multiprocessor
constexpr double kL2Clocks = 560;  // latency of L2 under load
}  // namespace tile_model

// `Shape` is the tile; `block_bytes` is the shared memory of a block.
template <class Shape>
TileCost tile_cost(const ProductShape& product, int block_bytes, int multiprocessors) {
  using namespace tile_model;
  constexpr int kWarpsDown = Shape::kRows / Shape::kWarpRows,
                kWarpsAcross = Shape::kColumns / Shape::kWarpColumns, kWarps = kWarpsDown * kWarpsAcross;
  const int resident = blocks_per_multiprocessor(kComputeCapability, 32 * kWarps, block_bytes);
  // `busiest` is the number of blocks on the multiprocessor that has the most.
  const int64_t down = blocks_of(product.rows, Shape::kRows),
                across = blocks_of(product.columns, Shape::kColumns), blocks = down * across,
                busiest = blocks_of(blocks, multiprocessors), waves = blocks_of(busiest, resident),
                steps = blocks_of(product.depth_bytes, Shape::kDepthBytes);
  const auto clocks_of = [&](double of_a_step) { return static_cast<double>(busiest * steps) * of_a_step; };

  // Instructions of a warp for the products of a stage. An mma multiplies 16 x 8 x 32 bytes; without
  // tensor cores each lane computes one product.
  const int products = Shape::kWarpRows * Shape::kWarpColumns * Shape::kDepthBytes /
                       (product.tensor_cores ? 16 * 8 * 32 : 32 * int{sizeof(float)});
  // Clocks to issue one instruction of every warp of `count` blocks. Warps share the schedulers; a warp
  // that has one alone must wait for its own previous instruction.
  const auto issue_clocks = [](int64_t count) {
    const double warps = static_cast<double>(count * kWarps) / kSchedulers;
    return count == 0 ? 0 : std::max(warps, kDependent);
  };
  const double issue =
      static_cast<double>(steps * (kStepInstructions + products)) *
      (static_cast<double>(busiest / resident) * issue_clocks(resident) + issue_clocks(busiest % resident));
  const double multiply =
      product.tensor_cores
          ? clocks_of(double(Shape::kRows) * Shape::kColumns * Shape::kDepthBytes / kMmaFlops)
          : 0;
  // Every row is written once and read by each warp across; every column is read by each warp down.
  const double shared = clocks_of(double(Shape::kDepthBytes) / kSharedBytes *
                                  (Shape::kRows * (1 + kWarpsAcross) + Shape::kColumns * (1 + kWarpsDown)));
  const double l2_bytes = (static_cast<double>(across) * static_cast<double>(product.rows) +
                           static_cast<double>(down) * product.columns) *
                          static_cast<double>(product.depth_bytes);
  const double l2 = l2_bytes / (kL2Bytes * multiprocessors);
  const double latency = static_cast<double>(waves) * kL2Clocks *
                         (Shape::kStages - 1 + static_cast<double>(steps) / (Shape::kStages - 1));
  return {blocks, waves, l2_bytes, std::max({issue, multiply, shared, l2, latency})};
}

}  // namespace pixelcnn::cuda
