// Transforms tiles of pixels into planes of products and back, and masked weights likewise.
//
// The upper rows are a filter of Vertical::r x kernel taps, which runs as kChunks filters of Horizontal::r
// columns side by side. Because Horizontal::m == Horizontal::r, chunk i of tile j reads the transformed
// input of tile j + i. In a masked square the upper rows are those above the centre, and the centre row is
// one more filter, which is horizontal. A window over the rows above has its own row among the upper rows
// and no centre row. The backward direction is mirrored: rows below, taps in reverse order.
#pragma once
#include "../ops.h"
#include "element.h"
#include "winograd_transforms.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// One image (h, w, channels). Pixels outside it read as 0.
struct ImageView {
  const Element* data;
  int h, w, channels;

  bool contains(int y, int x) const { return y >= 0 && y < h && x >= 0 && x < w; }
  const Element* at(int y, int x, int channel) const {
    return data + (int64_t{y} * w + x) * channels + channel;
  }

  // Whether whole vectors can be read at [y, y + rows) x [x, x + columns).
  bool contains_all(int y, int x, int rows, int columns, int channel) const {
    return y >= 0 && y + rows <= h && x >= 0 && x + columns <= w && channel + kLanes <= channels;
  }
  template <bool kInside>
  Vector read(int y, int x, int channel) const {
    if constexpr (kInside) return load(at(y, x, channel));
    return contains(y, x) ? load_partial(at(y, x, channel), channels - channel) : Vector{};
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

template <class V, class H, int kKernelSize, int kChunkCount, bool kCentreRow = true>
struct WinogradTiles {
  using Vertical = V;
  using Horizontal = H;
  static constexpr int kKernel = kKernelSize, kChunks = kChunkCount, kRadius = kKernel / 2;
  static constexpr bool kHasCentre = kCentreRow;
  static constexpr int kRows = V::m, kColumns = H::m;  // outputs of a tile
  static constexpr int kUpperRows = kRadius + !kHasCentre;
  static constexpr int kUpperPlanes = V::n * H::n;
  static constexpr int kCentreWeights = kHasCentre ? H::n : 0;  // planes of the centre row's weights
  static constexpr int kCentrePlanes =
      kHasCentre ? V::m * H::n : 0;  // the centre row, for each row of a tile
  static constexpr int kTaps = kKernel * kUpperRows + (kHasCentre ? kRadius + 1 : 0);
  static_assert(V::r == kUpperRows && H::r * kChunks >= kKernel && H::r >= kRadius + 1);
  static_assert(kChunks == 1 || H::m == H::r);

  static int tiles_across(int w) { return static_cast<int>(divide_up(w, kColumns)); }
  static int tile_rows(int h) { return static_cast<int>(divide_up(h, kRows)); }

  // Transforms one row of tiles. `upper` receives tiles + kChunks - 1 tiles, `centre` receives `tiles` for
  // each pixel row. Channels are padded to whole vectors.
  static void transform_input(const ImageView& image, Direction direction, int tile_row, int tiles,
                              Planes upper, Planes centre) {
    const bool forward = direction == Direction::kForward;
    const int padded = static_cast<int>(round_up(image.channels, kLanes)), top = tile_row * kRows;
    const int y = top + (forward ? -kRadius : kHasCentre ? 1 : 0);
    for (int tile = 0; tile < tiles + kChunks - 1; ++tile) {
      const int x = tile * kColumns - kRadius;
      for (int c = 0; c < padded; c += kLanes) {
        const Planes out = {upper.data + int64_t{tile} * padded + c, upper.stride};
        if (image.contains_all(y, x, V::n, H::n, c)) {
          transform_upper<true>(image, y, x, c, out);
        } else {
          transform_upper<false>(image, y, x, c, out);
        }
      }
    }
    for (int row = 0; kHasCentre && row < kRows; ++row) {
      for (int tile = 0; tile < tiles; ++tile) {
        const int x = tile * kColumns - (forward ? kRadius : 0);
        for (int c = 0; c < padded; c += kLanes) {
          const Planes out = {centre.data + row * H::n * centre.stride + int64_t{tile} * padded + c,
                              centre.stride};
          if (image.contains_all(top + row, x, 1, H::n, c)) {
            transform_centre<true>(image, top + row, x, c, out);
          } else {
            transform_centre<false>(image, top + row, x, c, out);
          }
        }
      }
    }
  }

  // Computes the outputs of one tile and one vector of channels, before bias and activation: AT (upper) A
  // + centre A.
  static void transform_output(Planes upper, Planes centre, Vector bias, Vector (&out)[kRows][kColumns]) {
    Vector columns[kRows][H::n];
    PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) {
      Vector in[V::n], rows[kRows];
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) in[i] = load(upper.data + (i * H::n + q) * upper.stride);
      multiply<V::AT>(in, rows);
      PIXELCNN_UNROLL for (int r = 0; r < kRows; ++r) {
        columns[r][q] = rows[r];
        if constexpr (kHasCentre) columns[r][q] += load(centre.data + (r * H::n + q) * centre.stride);
      }
    }
    PIXELCNN_UNROLL for (int r = 0; r < kRows; ++r) multiply<H::AT>(columns[r], out[r], bias);
  }

  // Applies the transposed output transform to one row of tiles of grad_y, for the weight gradient.
  static void transform_gradient(const ImageView& image, int tile_row, int tiles, Planes upper,
                                 Planes centre) {
    const int padded = static_cast<int>(round_up(image.channels, kLanes)), y = tile_row * kRows;
    for (int tile = 0; tile < tiles; ++tile) {
      for (int c = 0; c < padded; c += kLanes) {
        const Planes upper_out = {upper.data + int64_t{tile} * padded + c, upper.stride};
        const Planes centre_out = {centre.data + int64_t{tile} * padded + c, centre.stride};
        if (image.contains_all(y, tile * kColumns, kRows, kColumns, c)) {
          transform_gradient_tile<true>(image, y, tile * kColumns, c, upper_out, centre_out);
        } else {
          transform_gradient_tile<false>(image, y, tile * kColumns, c, upper_out, centre_out);
        }
      }
    }
  }

  // Transforms the weights of one input channel and a vector of output channels; taps[t] are their live
  // taps. store(chunk, plane, value) receives the transformed upper rows (chunk < kChunks, plane <
  // kUpperPlanes) and the centre row (chunk kChunks, plane < kCentreWeights).
  template <class Store>
  static void transform_weights(const Vector (&taps)[kTaps], Direction direction, const Store& store) {
    const bool forward = direction == Direction::kForward;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      Vector columns[V::n][H::r];
      PIXELCNN_UNROLL for (int b = 0; b < H::r; ++b) {
        const int column = chunk * H::r + b;
        Vector in[kUpperRows] = {}, out[V::n];
        for (int a = 0; a < kUpperRows && column < kKernel; ++a) {
          in[a] = forward ? taps[a * kKernel + column]
                          : taps[(kUpperRows - 1 - a) * kKernel + kKernel - 1 - column];
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
    if constexpr (kHasCentre) {
      Vector in[H::r] = {}, out[H::n];
      for (int b = 0; b <= kRadius; ++b) in[b] = taps[kRadius * kKernel + (forward ? b : kRadius - b)];
      multiply<H::G>(in, out);
      PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) store(kChunks, q, out[q]);
    }
  }

  // Applies the transpose of transform_weights: turns products(chunk, plane) into the gradients of the
  // live taps. Forward only.
  template <class Products>
  static void transform_weight_gradient(const Products& products, Vector (&taps)[kTaps]) {
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      Vector columns[H::r][V::n];
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) {
        Vector in[H::n], out[H::r];
        PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) in[q] = products(chunk, i * H::n + q);
        multiply_transposed<H::G>(in, out);
        PIXELCNN_UNROLL for (int b = 0; b < H::r; ++b) columns[b][i] = out[b];
      }
      for (int b = 0; b < H::r && chunk * H::r + b < kKernel; ++b) {
        Vector out[kUpperRows];
        multiply_transposed<V::G>(columns[b], out);
        for (int a = 0; a < kUpperRows; ++a) taps[a * kKernel + chunk * H::r + b] = out[a];
      }
    }
    if constexpr (kHasCentre) {
      Vector in[H::n], out[H::r];
      PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) in[q] = products(kChunks, q);
      multiply_transposed<H::G>(in, out);
      for (int b = 0; b <= kRadius; ++b) taps[kRadius * kKernel + b] = out[b];
    }
  }

 private:
  template <bool kInside>
  static void transform_upper(const ImageView& image, int y, int x, int c, Planes out) {
    Vector columns[V::n][H::n];
    PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) {
      Vector in[V::n], rows[V::n];
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) in[i] = image.read<kInside>(y + i, x + q, c);
      multiply<V::BT>(in, rows);
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) columns[i][q] = rows[i];
    }
    PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i) {
      Vector result[H::n];
      multiply<H::BT>(columns[i], result);
      PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) store(out.data + (i * H::n + q) * out.stride, result[q]);
    }
  }

  template <bool kInside>
  static void transform_centre(const ImageView& image, int y, int x, int c, Planes out) {
    Vector in[H::n], result[H::n];
    PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) in[q] = image.read<kInside>(y, x + q, c);
    multiply<H::BT>(in, result);
    PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) store(out.data + q * out.stride, result[q]);
  }

  template <bool kInside>
  static void transform_gradient_tile(const ImageView& image, int y, int x, int c, Planes upper,
                                      Planes centre) {
    Vector rows[H::n][kRows];
    PIXELCNN_UNROLL for (int r = 0; r < kRows; ++r) {
      Vector in[kColumns], out[H::n];
      PIXELCNN_UNROLL for (int q = 0; q < kColumns; ++q) in[q] = image.read<kInside>(y + r, x + q, c);
      multiply_transposed<H::AT>(in, out);
      PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) {
        if constexpr (kHasCentre) store(centre.data + (r * H::n + q) * centre.stride, out[q]);
        rows[q][r] = out[q];
      }
    }
    PIXELCNN_UNROLL for (int q = 0; q < H::n; ++q) {
      Vector out[V::n];
      multiply_transposed<V::AT>(rows[q], out);
      PIXELCNN_UNROLL for (int i = 0; i < V::n; ++i)
          store(upper.data + (i * H::n + q) * upper.stride, out[i]);
    }
  }
};

// Calls body with the WinogradTiles of a window that has_winograd() accepts.
template <class Body>
inline auto with_winograd(const Window& window, const Body& body) {
  if (window.own_row == OwnRow::kAll) {
    if (window.columns == 7) return body(WinogradTiles<F44, F44, 7, 2, false>());
    if (window.columns == 5) return body(WinogradTiles<F43, F45, 5, 1, false>());
    return body(WinogradTiles<F22, F43, 3, 1, false>());
  }
  if (window.columns == 7) return body(WinogradTiles<F43, F44, 7, 2>());
  if (window.columns == 5) return body(WinogradTiles<F42, F45, 5, 1>());
  return body(WinogradTiles<F11, F43, 3, 1>());
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
