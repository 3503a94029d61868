// Transforms tiles of pixels into planes of products and back, and masked weights likewise.
//
// A tile is V::m x H::m pixels. The live rows of a filter, the rows above and the pixel's own, are V::r rows
// of kFilterColumns taps, where a masked tap of the own row is 0. They run as kChunks filters of H::r columns
// side by side. Because H::m == H::r then, chunk i of tile j reads the transformed input of tile j + i. The
// backward direction is mirrored: rows below, taps in reverse order.
#pragma once
#include "../ops.h"
#include "element.h"
#include "winograd_transforms.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// One image (h, w, channels). Pixels outside it read as 0.
struct ImageView {
  const Element* data;
  int h, w, channels;

  const Element* at(int y, int x, int channel) const {
    return data + (int64_t{y} * w + x) * channels + channel;
  }
};

// Planes of transformed values. Plane p begins at data + p * stride.
struct Planes {
  float* data;
  int64_t stride;
};

// The stride is an odd number of cache lines, so that the planes of one tile do not all fall into the same
// cache set.
constexpr int64_t plane_stride(int64_t floats) {
  const int64_t lines = divide_up(floats, 16);
  return (lines + (lines % 2 == 0)) * 16;
}

template <class V, class H, int kFilterColumns, int kChunkCount>
struct WinogradTiles {
  static constexpr int kChunks = kChunkCount;
  static constexpr int kRows = V::m, kColumns = H::m;  // outputs of a tile
  static constexpr int kPlanes = V::n * H::n;
  static constexpr int kTaps = V::r * kFilterColumns;
  static_assert(H::r * kChunks >= kFilterColumns);
  static_assert(kChunks == 1 || H::m == H::r);

  static int tiles_across(int w) { return static_cast<int>(divide_up(w, kColumns)); }
  static int tile_rows(int h) { return static_cast<int>(divide_up(h, kRows)); }

  // Returns the floats of `columns`, the scratch memory of transform_input and transform_gradient.
  static int64_t column_floats(int tiles) { return int64_t{V::n} * input_columns(tiles) * kLanes; }

  // Transforms one row of tiles: `out` receives tiles + kChunks - 1 tiles. Channels are padded to whole
  // vectors. Neighbouring tiles overlap, so all columns of pixels are transformed first, and then the rows of
  // each tile.
  static void transform_input(const ImageView& image, const Window& window, Direction direction, int tile_row,
                              int tiles, float* columns, Planes out) {
    const int padded = static_cast<int>(round_up(image.channels, kLanes)), count = input_columns(tiles);
    const bool forward = direction == Direction::kForward;
    const int y = tile_row * kRows - (forward ? window.above : 0),
              x = forward ? -window.left : -window.right();
    for (int c = 0; c < padded; c += kLanes) {
      transform_columns<V::n>(image, y, x, count, c, columns,
                              [](const Vector* in, Vector* result) { multiply<V::BT>(in, result); });
      transform_rows<H::n>(columns, count, tiles + kChunks - 1, out.data + c, padded, out.stride,
                           [](const Vector* in, Vector* result) { multiply<H::BT>(in, result); });
    }
  }

  // Computes the outputs of one tile and one vector of channels, before bias and activation.
  static void transform_output(Planes products, Vector bias, Vector (&out)[kRows][kColumns]) {
    Vector columns[kRows][H::n];
    PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) {
      Vector in[V::n], rows[kRows];
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) in[i] =
          load(products.data + (i * H::n + q) * products.stride);
      multiply<V::AT>(in, rows);
      PIXELCNN_UNROLL for (int r = 0; r < kRows; ++r) columns[r][q] = rows[r];
    }
    PIXELCNN_UNROLL for (int r = 0; r < kRows; ++r) multiply<H::AT>(columns[r], out[r], bias);
  }

  // Applies the transposed output transform to one row of tiles of grad_y, for the weight gradient.
  static void transform_gradient(const ImageView& image, int tile_row, int tiles, float* columns,
                                 Planes out) {
    const int padded = static_cast<int>(round_up(image.channels, kLanes)), count = tiles * kColumns;
    for (int c = 0; c < padded; c += kLanes) {
      transform_columns<kRows>(
          image, tile_row * kRows, 0, count, c, columns,
          [](const Vector* in, Vector* result) { multiply_transposed<V::AT>(in, result); });
      transform_rows<kColumns>(
          columns, count, tiles, out.data + c, padded, out.stride,
          [](const Vector* in, Vector* result) { multiply_transposed<H::AT>(in, result); });
    }
  }

  // Transforms the weights of one input channel and a vector of output channels; taps[t] are their taps, 0
  // where masked. store(chunk, plane, value) receives the result.
  template <class Store>
  static void transform_weights(const Vector (&taps)[kTaps], Direction direction, const Store& store) {
    const bool forward = direction == Direction::kForward;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      Vector columns[V::n][H::r];
      PIXELCNN_UNROLL for (int b = 0; b < H::r; ++b) {
        const int column = chunk * H::r + b;
        Vector in[V::r] = {}, out[V::n];
        for (int a = 0; a < V::r && column < kFilterColumns; ++a) {
          in[a] = forward ? taps[a * kFilterColumns + column]
                          : taps[(V::r - 1 - a) * kFilterColumns + kFilterColumns - 1 - column];
        }
        multiply<V::G>(in, out);
        PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) columns[i][b] = out[i];
      }
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) {
        Vector out[H::n];
        multiply<H::G>(columns[i], out);
        PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) store(chunk, i * H::n + q, out[q]);
      }
    }
  }

  // Applies the transpose of transform_weights: turns products(chunk, plane) into store(tap, gradient) for
  // all taps, also for the masked ones. Forward only.
  template <class Products, class Store>
  static void transform_weight_gradient(const Products& products, const Store& store) {
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      Vector columns[H::r][V::n];
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) {
        Vector in[H::n], out[H::r];
        PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) in[q] = products(chunk, i * H::n + q);
        multiply_transposed<H::G>(in, out);
        PIXELCNN_UNROLL for (int b = 0; b < H::r; ++b) columns[b][i] = out[b];
      }
      PIXELCNN_UNROLL for (int b = 0; b < H::r; ++b) {
        if (chunk * H::r + b >= kFilterColumns) break;
        Vector out[V::r];
        multiply_transposed<V::G>(columns[b], out);
        PIXELCNN_UNROLL for (int a = 0; a < V::r; ++a) store(a * kFilterColumns + chunk * H::r + b, out[a]);
      }
    }
  }

 private:
  static int input_columns(int tiles) { return (tiles + kChunks - 1) * kColumns + H::n - H::m; }

  // Transforms kHeight pixels of each column [x, x + count), from row y on, into columns[i][column] for i <
  // V::n.
  template <int kHeight, class Transform>
  static void transform_columns(const ImageView& image, int y, int x, int count, int c, float* columns,
                                const Transform& transform) {
    const int lanes = image.channels - c;
    for (int column = 0; column < count; ++column) {
      Vector in[kHeight] = {}, result[V::n] = {};
      if (x + column >= 0 && x + column < image.w) {
        PIXELCNN_UNROLL for (int i = 0; i < kHeight; ++i) {
          if (y + i >= 0 && y + i < image.h) in[i] = load_partial(image.at(y + i, x + column, c), lanes);
        }
        transform(in, result);
      }
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i)
          store(columns + (i * count + column) * kLanes, result[i]);
    }
  }

  // Transforms kWidth columns of each tile into H::n values, for each of the V::n rows that transform_columns
  // made.
  template <int kWidth, class Transform>
  static void transform_rows(const float* columns, int count, int tiles, float* out, int64_t tile_stride,
                             int64_t plane_stride, const Transform& transform) {
    for (int tile = 0; tile < tiles; ++tile) {
      for (int i = 0; i < V::n; ++i) {
        const float* from = columns + (i * count + tile * kColumns) * kLanes;
        float* to = out + tile * tile_stride + i * H::n * plane_stride;
        Vector in[kWidth], result[H::n];
        PIXELCNN_UNROLL for (int q = 0; q < kWidth; ++q) in[q] = load(from + q * kLanes);
        transform(in, result);
        PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) store(to + q * plane_stride, result[q]);
      }
    }
  }
};

// Calls body with the WinogradTiles of a window that has_winograd() accepts.
template <class Body>
inline auto with_winograd(const Window& window, const Body& body) {
  if (window.above == 0) {
    if (window.columns == 4) return body(WinogradTiles<F11, F44, 4, 1>());
    if (window.columns == 3) return body(WinogradTiles<F11, F43, 3, 1>());
    return body(WinogradTiles<F11, F42, 2, 1>());
  }
  if (window.columns == 7) return body(WinogradTiles<F44, F44, 7, 2>());
  if (window.columns == 5) return body(WinogradTiles<F43, F45, 5, 1>());
  return body(WinogradTiles<F42, F43, 3, 1>());
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
