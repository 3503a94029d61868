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
    planes_ = allocator.planes(Tiles::kPlanes, int64_t{Tiles::kChunks} * inputs * columns_);
    floats_ = allocator.floats();
  }
  int64_t floats() const { return floats_; }
  int columns() const { return columns_; }
  // Returns the panel whose first column is `column`.
  float* panel(int plane, int column) const {
    return planes_.data + plane * planes_.stride + int64_t{column} * Tiles::kChunks * inputs_;
  }

 private:
  int inputs_, columns_;
  Planes planes_;
  int64_t floats_;
};

// Returns how many rows of tiles, of `row_floats` each, a thread transforms at a time. They should stay in
// the L2 cache of its core; but the transformed weights, or the sums of a gradient, are read once for all of
// these rows, so that large weights need more rows. A small batch is cut so finely that 16 threads have work.
// The number changes no bit.
inline int rows_at_a_time(int64_t row_floats, int64_t cache_floats, int64_t all_rows) {
  return static_cast<int>(larger<int64_t>(1, smaller(cache_floats / row_floats, all_rows / 16)));
}

// Holds one thread's transformed inputs and products for a strip of a few rows of tiles.
template <class Tiles>
struct WinogradStrip {
  int columns_in, columns_out, tiles, tiles_in, rows;
  Planes input, output;
  float* columns;  // the scratch memory of the transform
  int64_t floats;

  WinogradStrip(float* data, const MaskedConv2dShape& shape, int inputs, int outputs)
      : columns_in(static_cast<int>(round_up(inputs, kLanes))),
        columns_out(static_cast<int>(round_up(outputs, kLanes))),
        tiles(Tiles::tiles_across(shape.w)),
        tiles_in(tiles + Tiles::kChunks - 1) {
    const int64_t row_in = int64_t{tiles_in} * columns_in, row_out = int64_t{tiles} * columns_out;
    const int image_rows = Tiles::tile_rows(shape.h);
    const int64_t weights = int64_t{Tiles::kPlanes} * Tiles::kChunks * columns_in * columns_out;
    rows = smaller(image_rows,
                   rows_at_a_time(Tiles::kPlanes * (row_in + row_out),
                                  larger<int64_t>(kCacheFloats, weights / 4), int64_t{shape.n} * image_rows));
    PlaneAllocator allocator(data);
    input = allocator.planes(Tiles::kPlanes, rows * row_in);
    output = allocator.planes(Tiles::kPlanes, rows * row_out);
    columns = allocator.planes(1, Tiles::column_floats(tiles)).data;
    floats = allocator.floats();
  }

 private:
  static constexpr int64_t kCacheFloats = 192 << 10;
};

// Holds, for the weight gradient, one thread's transformed operands of a few rows of tiles, and the sums of a
// part.
template <class Tiles>
struct WinogradGradient {
  int columns_x, columns_y, tiles, tiles_x, rows;
  Planes x, y, sums;
  float* columns;  // the scratch memory of the transforms
  int64_t floats;

  WinogradGradient(float* data, const MaskedConv2dShape& shape)
      : columns_x(static_cast<int>(round_up(shape.c, kLanes))),
        columns_y(static_cast<int>(round_up(shape.k, kLanes))),
        tiles(Tiles::tiles_across(shape.w)),
        tiles_x(tiles + Tiles::kChunks - 1) {
    const int64_t row_x = int64_t{tiles_x} * columns_x, row_y = int64_t{tiles} * columns_y;
    const int64_t sum_floats = int64_t{Tiles::kPlanes} * Tiles::kChunks * shape.c * columns_y;
    rows = rows_at_a_time(Tiles::kPlanes * (row_x + row_y), larger<int64_t>(kCacheFloats, sum_floats / 2),
                          int64_t{shape.n} * Tiles::tile_rows(shape.h));
    PlaneAllocator allocator(data);
    x = allocator.planes(Tiles::kPlanes, rows * row_x);
    y = allocator.planes(Tiles::kPlanes, rows * row_y);
    columns = allocator.planes(1, Tiles::column_floats(tiles)).data;
    sums = allocator.planes(Tiles::kPlanes, int64_t{Tiles::kChunks} * shape.c * columns_y);
    floats = allocator.floats();
  }

 private:
  // More than fits beside the sums: a larger part of the time goes into reading and writing those, once for
  // these rows.
  static constexpr int64_t kCacheFloats = 352 << 10;
};

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
