// Computes the weight gradient of masked convolution by nested Winograd.
//
// A part is a fixed range of rows of tiles. One thread transforms a few of these rows at a time, multiplies
// them into the part's sums, and at the end turns the sums into a partial weight gradient, so what it reads
// is in its own cache. Other threads read only the partial gradients.
#include <cstring>

#include "masked_conv2d_gradient.h"
#include "masked_conv2d_winograd.h"
#include "winograd_scratch.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

constexpr int kTileWidth = kBlockVectors * kLanes;

// A part's sums cost as much as about 20 tiles, so a large batch has parts of at least 192 tiles. A small
// batch has up to 8 parts of at least 24 tiles, or most threads would have none. Powers of two suit the usual
// numbers of threads.
template <class Tiles>
int gradient_parts(const MaskedConv2dShape& shape) {
  const int64_t tiles = int64_t{shape.n} * Tiles::tile_rows(shape.h) * Tiles::tiles_across(shape.w);
  const int64_t most = smaller<int64_t>(32, larger(tiles / 192, smaller<int64_t>(8, tiles / 24)));
  int parts = 1;
  while (2 * parts <= most) parts *= 2;
  return parts;
}

// A partial gradient is [vector of output channels][input channel][tap][lane], and then a bias for each
// output channel.
template <class Tiles>
int64_t partial_floats(const MaskedConv2dShape& shape) {
  return round_up(shape.k, kLanes) * (int64_t{shape.c} * Tiles::kTaps + 1);
}

// Adds the products of `rows` rows of tiles to the sums of all planes, and asks for what is transformed next.
template <class Tiles>
void multiply_gradient(const WinogradGradient<Tiles>& s, int c, int rows, const Ahead (&ahead)[2]) {
  for (int plane = 0; plane < Tiles::kPlanes; ++plane) {
    for (const Ahead& range : ahead) range.prefetch_part(plane, Tiles::kPlanes);
    float* sums = s.sums.data + plane * s.sums.stride;
    for (int chunk = 0; chunk < Tiles::kChunks; ++chunk) {
      for (int column = 0; column < s.columns_y; column += kTileWidth) {
        const int width = smaller(kTileWidth, s.columns_y - column);
        const TileInput<float> in = {s.x.data + plane * s.x.stride + int64_t{chunk} * s.columns_x,
                                     s.columns_x,
                                     int64_t{s.tiles_x} * s.columns_x,
                                     s.y.data + plane * s.y.stride + column,
                                     s.columns_y,
                                     int64_t{s.tiles} * s.columns_y,
                                     rows,
                                     s.tiles,
                                     width};
        accumulate(in, c, width / kLanes, sums + (int64_t{chunk} * s.columns_y + column) * c);
      }
    }
  }
}

// Transforms the sums back into a partial gradient.
template <class Tiles>
void write_partial(const WinogradGradient<Tiles>& s, int channels, float* partial) {
  for (int panel = 0; panel < s.columns_y; panel += kTileWidth) {
    const int width = smaller(kTileWidth, s.columns_y - panel);
    for (int c = 0; c < channels; ++c) {
      for (int lane = 0; lane < width; lane += kLanes) {
        const float* sums = s.sums.data + int64_t{panel} * channels + int64_t{c} * width + lane;
        float* out = partial + (int64_t{panel + lane} * channels + int64_t{c} * kLanes) * Tiles::kTaps;
        Tiles::transform_weight_gradient(
            [&](int chunk, int plane) {
              return load(sums + plane * s.sums.stride + int64_t{chunk} * channels * s.columns_y);
            },
            [&](int tap, Vector value) { store(out + tap * kLanes, value); });
      }
    }
  }
}

// Adds the partial gradients in order for input channel c and output channels [k, k + kLanes).
template <class Tiles>
void write_gradient(const MaskedConv2dBackwardWeight& op, const float* partial, int parts, int c, int k) {
  const MaskedConv2dShape& shape = op.shape;
  const int window = shape.window.weights(), taps = shape.window.taps();
  const int64_t stride = partial_floats<Tiles>(shape);
  const int64_t at = (int64_t{k} * shape.c + int64_t{c} * kLanes) * Tiles::kTaps;
  float* out = op.grad_weight + (int64_t{k} * shape.c + c) * window;
  const int lanes = smaller(kLanes, shape.k - k);
  for (int tap = 0; tap < window; ++tap) {
    Vector sum = {};
    for (int part = 0; part < parts && tap < taps; ++part)
      sum += load(partial + part * stride + at + int64_t{tap} * kLanes);
    for (int lane = 0; lane < lanes; ++lane) {
      const bool live = tap < taps - 1 || (tap == taps - 1 && sees_last_tap(shape, k + lane, c));
      out[lane * int64_t{shape.c} * window + tap] = live ? sum[lane] : 0;
    }
  }
}

// Transforms rows [begin, begin + rows) of the tiles of all images, and adds their bias gradients to `bias`.
template <class Tiles>
void transform_rows(const MaskedConv2dBackwardWeight& op, const WinogradGradient<Tiles>& s, int64_t begin,
                    int rows, float* bias) {
  const MaskedConv2dShape& shape = op.shape;
  const int c = shape.c, k = shape.k, h = shape.h, w = shape.w, per_image = Tiles::tile_rows(h);
  for (int row = 0; row < rows; ++row) {
    const int64_t pixel = (begin + row) / per_image * h * w;
    const int tile_row = static_cast<int>((begin + row) % per_image), y = tile_row * Tiles::kRows;
    const ImageView x = {static_cast<const Element*>(op.x) + pixel * c, h, w, c};
    const ImageView grad_y = {static_cast<const Element*>(op.grad_y) + pixel * k, h, w, k};
    Tiles::transform_input(x, shape.window, Direction::kForward, tile_row, s.tiles, s.columns,
                           {s.x.data + int64_t{row} * s.tiles_x * s.columns_x, s.x.stride});
    Tiles::transform_gradient(grad_y, tile_row, s.tiles, s.columns,
                              {s.y.data + int64_t{row} * s.tiles * s.columns_y, s.y.stride});
    if (op.grad_bias) add_columns(grad_y.at(y, 0, 0), k, int64_t{smaller(Tiles::kRows, h - y)} * w, k, bias);
  }
}

// Computes the partial gradient of rows [begin, end) of the tiles of all images.
template <class Tiles>
void gradient_of_part(const MaskedConv2dBackwardWeight& op, const WinogradGradient<Tiles>& scratch,
                      int64_t begin, int64_t end, float* partial) {
  const MaskedConv2dShape& shape = op.shape;
  const int per_image = Tiles::tile_rows(shape.h);
  const auto first_pixel = [&](int64_t row) {
    return (row / per_image * shape.h + row % per_image * Tiles::kRows) * shape.w;
  };
  float* bias = partial + partial_floats<Tiles>(shape) - scratch.columns_y;
  std::memset(bias, 0, sizeof(float) * scratch.columns_y);
  std::memset(scratch.sums.data, 0, sizeof(float) * Tiles::kPlanes * scratch.sums.stride);
  for (; begin < end; begin += scratch.rows) {
    const int rows = static_cast<int>(smaller<int64_t>(scratch.rows, end - begin));
    transform_rows(op, scratch, begin, rows, bias);
    const int64_t next = first_pixel(begin + rows);
    const int64_t count = first_pixel(smaller(begin + rows + scratch.rows, end)) - next;
    const Ahead ahead[] = {{static_cast<const Element*>(op.x) + next * shape.c, count * shape.c},
                           {static_cast<const Element*>(op.grad_y) + next * shape.k, count * shape.k}};
    multiply_gradient(scratch, shape.c, rows, ahead);
  }
  write_partial(scratch, shape.c, partial);
}

template <class Tiles>
void gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const int parts = gradient_parts<Tiles>(shape);
  const int64_t all_rows = int64_t{shape.n} * Tiles::tile_rows(shape.h);
  const int64_t stride = partial_floats<Tiles>(shape);
  float* partials = reinterpret_cast<float*>(context.workspace);
  const WinogradGradient<Tiles> layout(nullptr, shape);

  context.pool.run(parts, [&](int64_t part, int thread) {
    const WinogradGradient<Tiles> scratch(partials + parts * stride + thread * layout.floats, shape);
    gradient_of_part(op, scratch, share_begin(all_rows, part, parts), share_begin(all_rows, part + 1, parts),
                     partials + part * stride);
  });

  constexpr int kChannels = 8;
  context.pool.run(divide_up(shape.c, kChannels), [&](int64_t task, int) {
    const int begin = static_cast<int>(task) * kChannels;
    for (int k = 0; k < shape.k; k += kLanes) {
      for (int c = begin; c < smaller(begin + kChannels, shape.c); ++c)
        write_gradient<Tiles>(op, partials, parts, c, k);
      if (op.grad_bias && task == 0) {
        Vector sum = {};
        for (int part = 0; part < parts; ++part)
          sum += load(partials + (part + 1) * stride - layout.columns_y + k);
        store_partial(op.grad_bias + k, sum, shape.k - k);
      }
    }
  });
}

}  // namespace

int64_t winograd_gradient_workspace(const MaskedConv2dShape& shape, int threads) {
  return with_winograd(shape.window, [&](auto tiles) {
    using Tiles = decltype(tiles);
    const int64_t partials = gradient_parts<Tiles>(shape) * partial_floats<Tiles>(shape);
    return (partials + threads * WinogradGradient<Tiles>(nullptr, shape).floats) * int64_t{sizeof(float)};
  });
}

void winograd_gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  with_winograd(op.shape.window, [&](auto tiles) { gradient<decltype(tiles)>(op, context); });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
