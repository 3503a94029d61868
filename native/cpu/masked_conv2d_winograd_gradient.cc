// Computes the weight gradient of masked convolution by nested Winograd.
#include <cstring>

#include "masked_conv2d_gradient.h"
#include "masked_conv2d_winograd.h"
#include "winograd_scratch.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

constexpr int kTileWidth = kBlockVectors * kLanes;

// Adds one plane's products over the batch to its sums. The first kCentreWeights tasks are the planes of the
// centre row, which take longer; the other tasks are chunks of the upper planes.
template <class Tiles>
void multiply_gradient(const WinogradBatch<Tiles>& s, int c, int rows, int task, bool first) {
  const bool centre = task < Tiles::kCentreWeights;
  const int chunk = (task - Tiles::kCentreWeights) % Tiles::kChunks,
            plane = (task - Tiles::kCentreWeights) / Tiles::kChunks;
  float* sums = centre ? s.sum_centre.data + task * s.sum_centre.stride
                       : s.sum_upper.data + plane * s.sum_upper.stride + int64_t{chunk} * c * s.columns_y;
  if (first) std::memset(sums, 0, sizeof(float) * c * s.columns_y);
  for (int column = 0; column < s.columns_y; column += kTileWidth) {
    const int width = smaller(kTileWidth, s.columns_y - column), vectors = width / kLanes;
    float* panel = sums + int64_t{column} * c;
    if (centre) {
      for (int row = 0; row < Tiles::kRows; ++row) {
        const int at = row * Tiles::Horizontal::n + task;
        const TileInput<float> in = {s.x_centre.data + at * s.x_centre.stride,
                              s.columns_x,
                              0,
                              s.y_centre.data + at * s.y_centre.stride + column,
                              s.columns_y,
                              0,
                              1,
                              rows * s.tiles,
                              width};
        accumulate(in, c, vectors, panel);
      }
    } else {
      const TileInput<float> in = {s.x_upper.data + plane * s.x_upper.stride + int64_t{chunk} * s.columns_x,
                            s.columns_x,
                            int64_t{s.tiles_upper} * s.columns_x,
                            s.y_upper.data + plane * s.y_upper.stride + column,
                            s.columns_y,
                            int64_t{s.tiles} * s.columns_y,
                            rows,
                            s.tiles,
                            width};
      accumulate(in, c, vectors, panel);
    }
  }
}

// Transforms the sums of input channel c and output channels [k, k + kLanes) back into filters.
template <class Tiles>
void write_gradient(const MaskedConv2dBackwardWeight& op, const WinogradBatch<Tiles>& s, int c, int k) {
  const MaskedConv2dShape& shape = op.shape;
  const int window = shape.window.weights();
  const int panel = k / kTileWidth * kTileWidth, width = smaller(kTileWidth, s.columns_y - panel);
  const int64_t at = int64_t{panel} * shape.c + int64_t{c} * width + k - panel;
  Vector taps[Tiles::kTaps];
  const auto products = [&](int chunk, int plane) {
    if (chunk == Tiles::kChunks) return load(s.sum_centre.data + plane * s.sum_centre.stride + at);
    return load(s.sum_upper.data + plane * s.sum_upper.stride + int64_t{chunk} * shape.c * s.columns_y + at);
  };
  Tiles::transform_weight_gradient(products, taps);
  for (int lane = 0; lane < smaller(kLanes, shape.k - k); ++lane) {
    float* out = op.grad_weight + (int64_t{k + lane} * shape.c + c) * window;
    for (int tap = 0; tap < Tiles::kTaps; ++tap) out[tap] = taps[tap][lane];
    const bool last_is_live = !Tiles::kHasCentre || sees_centre(shape, k + lane, c);
    for (int tap = Tiles::kTaps - !last_is_live; tap < window; ++tap) out[tap] = 0;
  }
}

template <class Tiles>
void gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const WinogradBatch<Tiles> scratch(reinterpret_cast<float*>(context.workspace), shape);
  const int per_image = Tiles::tile_rows(shape.h);
  const int64_t all_rows = int64_t{shape.n} * per_image, pixels = int64_t{shape.h} * shape.w;
  constexpr int kProducts = Tiles::kCentreWeights + Tiles::kUpperPlanes * Tiles::kChunks;
  std::memset(scratch.bias.data, 0, sizeof(float) * scratch.columns_y);

  // Batches run one after the other. In a batch the tasks are first rows of tiles and then planes, so only
  // one task adds to a sum.
  for (int64_t begin = 0; begin < all_rows; begin += scratch.rows) {
    const int rows = static_cast<int>(smaller<int64_t>(scratch.rows, all_rows - begin));
    context.pool.run(rows, [&](int64_t row, int) {
      const int64_t image = (begin + row) / per_image;
      const int tile_row = static_cast<int>((begin + row) % per_image);
      const ImageView x = {static_cast<const Element*>(op.x) + image * pixels * shape.c, shape.h, shape.w,
                           shape.c};
      const ImageView grad_y = {static_cast<const Element*>(op.grad_y) + image * pixels * shape.k, shape.h,
                                shape.w, shape.k};
      const auto at = [&](Planes planes, int tiles, int columns) {
        return Planes{planes.data + row * tiles * columns, planes.stride};
      };
      Tiles::transform_input(x, Direction::kForward, tile_row, scratch.tiles,
                             at(scratch.x_upper, scratch.tiles_upper, scratch.columns_x),
                             at(scratch.x_centre, scratch.tiles, scratch.columns_x));
      Tiles::transform_gradient(grad_y, tile_row, scratch.tiles,
                                at(scratch.y_upper, scratch.tiles, scratch.columns_y),
                                at(scratch.y_centre, scratch.tiles, scratch.columns_y));
      if (!op.grad_bias) return;
      float* bias = scratch.bias_rows.data + row * scratch.bias_rows.stride;
      std::memset(bias, 0, sizeof(float) * scratch.columns_y);
      const int y = tile_row * Tiles::kRows;
      add_columns(grad_y.at(y, 0, 0), shape.k, int64_t{smaller(Tiles::kRows, shape.h - y)} * shape.w, shape.k,
                  bias);
    });
    context.pool.run(kProducts, [&](int64_t task, int) {
      multiply_gradient(scratch, shape.c, rows, static_cast<int>(task), begin == 0);
    });
    for (int64_t row = 0; op.grad_bias && row < rows; ++row) {
      const float* bias = scratch.bias_rows.data + row * scratch.bias_rows.stride;
      for (int k = 0; k < shape.k; ++k) scratch.bias.data[k] += bias[k];
    }
  }
  if (op.grad_bias) std::memcpy(op.grad_bias, scratch.bias.data, sizeof(float) * shape.k);
  context.pool.run(divide_up(shape.c, 8), [&](int64_t task, int) {
    const int begin = static_cast<int>(task) * 8;
    for (int k = 0; k < shape.k; k += kLanes) {
      for (int c = begin; c < smaller(begin + 8, shape.c); ++c) write_gradient(op, scratch, c, k);
    }
  });
}

}  // namespace

int64_t winograd_gradient_workspace(const MaskedConv2dShape& shape) {
  return with_winograd(shape.window, [&](auto tiles) {
    return WinogradBatch<decltype(tiles)>(nullptr, shape).floats * int64_t{sizeof(float)};
  });
}

void winograd_gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  with_winograd(op.shape.window, [&](auto tiles) { gradient<decltype(tiles)>(op, context); });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
