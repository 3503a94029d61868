// Lays out the transformed weights, inputs and products of Winograd in memory.
#pragma once
#include "../ops.h"
#include "winograd_tiles.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// Places planes one after the other. With null data it only counts the floats.
class PlaneAllocator {
 public:
  explicit PlaneAllocator(float* data) : data_(data) {}
  Planes planes(int64_t count, int64_t floats) {
    const Planes result = {data_ ? data_ + used_ : nullptr, plane_stride(floats)};
    used_ += count * result.stride;
    return result;
  }
  int64_t floats() const { return used_; }

 private:
  float* data_;
  int64_t used_ = 0;
};

// Holds transformed weights: planes of panels of [chunk][input channel][panel width].
template <class Tiles>
class WinogradWeights {
 public:
  WinogradWeights(float* data, int inputs, int outputs)
      : inputs_(inputs), columns_(static_cast<int>(round_up(outputs, kLanes))) {
    PlaneAllocator allocator(data);
    upper_ = allocator.planes(Tiles::kUpperPlanes, int64_t{Tiles::kChunks} * inputs * columns_);
    centre_ = allocator.planes(Tiles::kCentreWeights, int64_t{inputs} * columns_);
    floats_ = allocator.floats();
  }
  int64_t floats() const { return floats_; }
  int columns() const { return columns_; }
  // These return the panel whose first column is `column`.
  float* upper(int plane, int column) const {
    return upper_.data + plane * upper_.stride + int64_t{column} * Tiles::kChunks * inputs_;
  }
  float* centre(int plane, int column) const {
    return centre_.data + plane * centre_.stride + int64_t{column} * inputs_;
  }

 private:
  int inputs_, columns_;
  Planes upper_, centre_;
  int64_t floats_;
};

// Holds one thread's transformed inputs and products for a strip of a few pixel rows, so few that they stay
// in its cache. Without a centre row there are fewer planes, so a strip is longer,
// and the weights are read less often.
template <class Tiles>
struct WinogradStrip {
  static constexpr int kTileRows = larger(1, (Tiles::kHasCentre ? 4 : 8) / Tiles::kRows);
  int columns_in, columns_out, tiles, tiles_upper;
  Planes input_upper, input_centre, output_upper, output_centre;
  int64_t floats;

  WinogradStrip(float* data, const MaskedConv2dShape& shape, int inputs, int outputs)
      : columns_in(static_cast<int>(round_up(inputs, kLanes))),
        columns_out(static_cast<int>(round_up(outputs, kLanes))),
        tiles(Tiles::tiles_across(shape.w)),
        tiles_upper(tiles + Tiles::kChunks - 1) {
    PlaneAllocator allocator(data);
    input_upper = allocator.planes(Tiles::kUpperPlanes, int64_t{kTileRows} * tiles_upper * columns_in);
    input_centre = allocator.planes(Tiles::kCentrePlanes, int64_t{kTileRows} * tiles * columns_in);
    output_upper = allocator.planes(Tiles::kUpperPlanes, int64_t{kTileRows} * tiles * columns_out);
    output_centre = allocator.planes(Tiles::kCentrePlanes, int64_t{kTileRows} * tiles * columns_out);
    floats = allocator.floats();
  }
};

// Holds, for the weight gradient, the transformed operands of a batch of tile rows and the sums over all
// batches.
template <class Tiles>
struct WinogradBatch {
  int rows, columns_x, columns_y, tiles, tiles_upper;
  Planes x_upper, x_centre, y_upper, y_centre, sum_upper, sum_centre;
  Planes bias_rows;  // the bias gradient of each tile row
  Planes bias;
  int64_t floats;

  WinogradBatch(float* data, const MaskedConv2dShape& shape)
      : columns_x(static_cast<int>(round_up(shape.c, kLanes))),
        columns_y(static_cast<int>(round_up(shape.k, kLanes))),
        tiles(Tiles::tiles_across(shape.w)),
        tiles_upper(tiles + Tiles::kChunks - 1) {
    // A batch has about 200 tiles, but in wide images also enough rows for every thread.
    const int batch = larger(larger(1, 196 / tiles), smaller(8, 1024 / tiles));
    rows = static_cast<int>(smaller<int64_t>(int64_t{shape.n} * Tiles::tile_rows(shape.h), batch));
    PlaneAllocator allocator(data);
    x_upper = allocator.planes(Tiles::kUpperPlanes, int64_t{rows} * tiles_upper * columns_x);
    x_centre = allocator.planes(Tiles::kCentrePlanes, int64_t{rows} * tiles * columns_x);
    y_upper = allocator.planes(Tiles::kUpperPlanes, int64_t{rows} * tiles * columns_y);
    y_centre = allocator.planes(Tiles::kCentrePlanes, int64_t{rows} * tiles * columns_y);
    sum_upper = allocator.planes(Tiles::kUpperPlanes, int64_t{Tiles::kChunks} * shape.c * columns_y);
    sum_centre = allocator.planes(Tiles::kCentreWeights, int64_t{shape.c} * columns_y);
    bias_rows = allocator.planes(rows, columns_y);
    bias = allocator.planes(1, columns_y);
    floats = allocator.floats();
  }
};

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
