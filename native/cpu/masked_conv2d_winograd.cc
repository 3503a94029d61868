// Masked convolution by nested Winograd: transforms, one matrix product per plane, transforms back.
#include "masked_conv2d_winograd.h"

#include <cstring>

#include "masked_conv2d_gradient.h"
#include "masked_conv2d_taps.h"
#include "winograd_scratch.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

int group_of(int channel, int channels, int groups) {
  return static_cast<int>(int64_t{channel} * groups / channels);
}

// Whether output channel k sees input channel c at the centre tap.
bool sees_centre(const MaskedConv2dShape& shape, int k, int c) {
  const int output = group_of(k, shape.k, shape.groups), input = group_of(c, shape.c, shape.groups);
  return shape.mask == MaskType::kB ? input <= output : input < output;
}

template <class Tiles>
class Winograd {
 public:
  static int64_t packed_bytes(int inputs, int outputs) {
    return Weights(nullptr, inputs, outputs).floats() * int64_t{sizeof(float)};
  }
  static void pack(const MaskedConv2dPack& op, Context& context);
  static int64_t workspace(const MaskedConv2dShape& shape, int inputs, int outputs, int threads) {
    return threads * Strip(nullptr, shape, inputs, outputs).floats * int64_t{sizeof(float)};
  }
  static void convolve(const Convolution& conv, Context& context);
  static int64_t gradient_workspace(const MaskedConv2dShape& shape) {
    return Batch(nullptr, shape).floats * int64_t{sizeof(float)};
  }
  static void gradient(const MaskedConv2dBackwardWeight& op, Context& context);

 private:
  static constexpr int kCentreWeights = Tiles::Horizontal::n;
  static constexpr int kGemmWidth = kGemmVectors * kLanes, kTileWidth = kBlockVectors * kLanes;

  using Weights = WinogradWeights<Tiles>;
  using Strip = WinogradStrip<Tiles>;
  using Batch = WinogradBatch<Tiles>;

  static void multiply_planes(const Strip& scratch, const Weights& weights, int inputs, int rows);
  static void store_tile(const Convolution& conv, int64_t image, int y, int x, int channel,
                         const Vector (&tile)[Tiles::kRows][Tiles::kColumns]);
  static void multiply_gradient(const Batch& scratch, int c, int rows, int task, bool first);
  static void write_gradient(const MaskedConv2dBackwardWeight& op, const Batch& scratch, int c, int k);
};

template <class Tiles>
void Winograd<Tiles>::pack(const MaskedConv2dPack& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const bool forward = op.direction == Direction::kForward;
  const int inputs = forward ? shape.c : shape.k, outputs = forward ? shape.k : shape.c;
  const Weights weights(static_cast<float*>(op.packed), inputs, outputs);
  constexpr int kChannels = 8, kWindow = Tiles::kKernel * Tiles::kKernel;

  context.pool.run(divide_up(inputs, kChannels), [&](int64_t task, int) {
    const int begin = static_cast<int>(task) * kChannels, end = smaller(begin + kChannels, inputs);
    for (int column = 0; column < weights.columns(); column += kLanes) {
      const int panel = column / kGemmWidth * kGemmWidth,
                width = smaller(kGemmWidth, weights.columns() - panel);
      for (int input = begin; input < end; ++input) {
        alignas(64) float lanes[Tiles::kTaps][kLanes] = {};
        for (int lane = 0; lane < smaller(kLanes, outputs - column); ++lane) {
          const int k = forward ? column + lane : input, c = forward ? input : column + lane;
          const float* from = op.weight + (int64_t{k} * shape.c + c) * kWindow;
          for (int tap = 0; tap < Tiles::kTaps - 1; ++tap) lanes[tap][lane] = from[tap];
          if (sees_centre(shape, k, c)) lanes[Tiles::kTaps - 1][lane] = from[Tiles::kTaps - 1];
        }
        Vector taps[Tiles::kTaps];
        for (int tap = 0; tap < Tiles::kTaps; ++tap) taps[tap] = load(lanes[tap]);
        Tiles::transform_weights(taps, op.direction, [&](int chunk, int plane, Vector value) {
          float* to = chunk < Tiles::kChunks ? weights.upper(plane, panel) + int64_t{chunk} * inputs * width
                                             : weights.centre(plane, panel);
          store(to + int64_t{input} * width + column - panel, value);
        });
      }
    }
  });
}

template <class Tiles>
void Winograd<Tiles>::multiply_planes(const Strip& scratch, const Weights& weights, int inputs, int rows) {
  Tap taps[Tiles::kChunks];
  for (int chunk = 0; chunk < Tiles::kChunks; ++chunk)
    taps[chunk] = {int64_t{chunk} * scratch.columns_in, inputs, 0};
  const auto multiply_row = [&](const float* x, int chunks, const float* panel, int vectors, float* y) {
    for_each_run(scratch.tiles, kGemmPixels, [&](int tile, int count) {
      const BlockOutput out = {y + int64_t{tile} * scratch.columns_out,
                               scratch.columns_out,
                               nullptr,
                               nullptr,
                               vectors * kLanes,
                               false};
      MultiplyBlocks::get(count, vectors)(x + int64_t{tile} * scratch.columns_in, scratch.columns_in, taps,
                                          chunks, panel, out);
    });
  };
  for (int column = 0; column < scratch.columns_out; column += kGemmWidth) {
    const int vectors = smaller(kGemmVectors, (scratch.columns_out - column) / kLanes);
    const int64_t row_in = int64_t{scratch.tiles} * scratch.columns_in;
    const int64_t row_in_upper = int64_t{scratch.tiles_upper} * scratch.columns_in;
    const int64_t row_out = int64_t{scratch.tiles} * scratch.columns_out;
    for (int plane = 0; plane < Tiles::kUpperPlanes; ++plane) {
      for (int row = 0; row < rows; ++row) {
        multiply_row(
            scratch.input_upper.data + plane * scratch.input_upper.stride + row * row_in_upper,
            Tiles::kChunks, weights.upper(plane, column), vectors,
            scratch.output_upper.data + plane * scratch.output_upper.stride + row * row_out + column);
      }
    }
    for (int plane = 0; plane < kCentreWeights; ++plane) {
      for (int pixel_row = 0; pixel_row < Tiles::kRows; ++pixel_row) {
        const int at = pixel_row * kCentreWeights + plane;
        for (int row = 0; row < rows; ++row) {
          multiply_row(
              scratch.input_centre.data + at * scratch.input_centre.stride + row * row_in, 1,
              weights.centre(plane, column), vectors,
              scratch.output_centre.data + at * scratch.output_centre.stride + row * row_out + column);
        }
      }
    }
  }
}

template <class Tiles>
void Winograd<Tiles>::store_tile(const Convolution& conv, int64_t image, int y, int x, int channel,
                                 const Vector (&tile)[Tiles::kRows][Tiles::kColumns]) {
  const int outputs = conv.outputs(), lanes = outputs - channel;
  const int rows = smaller(Tiles::kRows, conv.shape.h - y),
            columns = smaller(Tiles::kColumns, conv.shape.w - x);
  PIXELCNN_UNROLL for (int r = 0; r < Tiles::kRows; ++r) {
    PIXELCNN_UNROLL for (int q = 0; q < Tiles::kColumns; ++q) {
      if (r >= rows || q >= columns) continue;
      const int64_t at = ((image * conv.shape.h + y + r) * conv.shape.w + x + q) * outputs + channel;
      Vector value = tile[r][q];
      if (conv.relu) value = value < Vector{} ? Vector{} : value;
      if (conv.gate) value = load_partial(conv.gate + at, lanes) <= Vector{} ? Vector{} : value;
      store_partial(conv.y + at, value, lanes);
    }
  }
}

template <class Tiles>
void Winograd<Tiles>::convolve(const Convolution& conv, Context& context) {
  const MaskedConv2dShape& shape = conv.shape;
  const int inputs = conv.inputs(), outputs = conv.outputs(), all_rows = Tiles::tile_rows(shape.h);
  const Weights weights(const_cast<float*>(static_cast<const float*>(conv.packed)), inputs, outputs);
  const int64_t strips = divide_up(all_rows, Strip::kTileRows);

  context.pool.run(shape.n * strips, [&](int64_t task, int thread) {
    float* data = reinterpret_cast<float*>(context.workspace);
    const Strip layout(nullptr, shape, inputs, outputs);
    const Strip scratch(data + thread * layout.floats, shape, inputs, outputs);
    const int64_t image = task / strips;
    const int begin = static_cast<int>(task % strips) * Strip::kTileRows;
    const int rows = smaller(Strip::kTileRows, all_rows - begin);
    const ImageView view = {conv.x + image * shape.h * shape.w * inputs, shape.h, shape.w, inputs};
    for (int row = 0; row < rows; ++row) {
      const Planes upper = {
          scratch.input_upper.data + int64_t{row} * scratch.tiles_upper * scratch.columns_in,
          scratch.input_upper.stride};
      const Planes centre = {scratch.input_centre.data + int64_t{row} * scratch.tiles * scratch.columns_in,
                             scratch.input_centre.stride};
      Tiles::transform_input(view, conv.direction, begin + row, scratch.tiles, upper, centre);
    }
    multiply_planes(scratch, weights, inputs, rows);
    for (int index = 0; index < rows * scratch.tiles; ++index) {
      for (int channel = 0; channel < outputs; channel += kLanes) {
        const int64_t at = int64_t{index} * scratch.columns_out + channel;
        const Vector bias = conv.bias ? load_partial(conv.bias + channel, outputs - channel) : Vector{};
        Vector tile[Tiles::kRows][Tiles::kColumns];
        Tiles::transform_output({scratch.output_upper.data + at, scratch.output_upper.stride},
                                {scratch.output_centre.data + at, scratch.output_centre.stride}, bias, tile);
        store_tile(conv, image, (begin + index / scratch.tiles) * Tiles::kRows,
                   index % scratch.tiles * Tiles::kColumns, channel, tile);
      }
    }
  });
}

// Adds one plane's products over the batch to its sums. Tasks 0 to H::n - 1 are the centre's planes (the
// longer ones), the rest chunks of upper planes.
template <class Tiles>
void Winograd<Tiles>::multiply_gradient(const Batch& s, int c, int rows, int task, bool first) {
  const bool centre = task < kCentreWeights;
  const int chunk = (task - kCentreWeights) % Tiles::kChunks,
            plane = (task - kCentreWeights) / Tiles::kChunks;
  float* sums = centre ? s.sum_centre.data + task * s.sum_centre.stride
                       : s.sum_upper.data + plane * s.sum_upper.stride + int64_t{chunk} * c * s.columns_y;
  if (first) std::memset(sums, 0, sizeof(float) * c * s.columns_y);
  for (int column = 0; column < s.columns_y; column += kTileWidth) {
    const int width = smaller(kTileWidth, s.columns_y - column), vectors = width / kLanes;
    float* panel = sums + int64_t{column} * c;
    if (centre) {
      for (int row = 0; row < Tiles::kRows; ++row) {
        const int at = row * kCentreWeights + task;
        const TileInput in = {s.x_centre.data + at * s.x_centre.stride,
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
      const TileInput in = {s.x_upper.data + plane * s.x_upper.stride + int64_t{chunk} * s.columns_x,
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

// Transforms the sums of input channel c and the output channels [k, k + kLanes) back into filters.
template <class Tiles>
void Winograd<Tiles>::write_gradient(const MaskedConv2dBackwardWeight& op, const Batch& s, int c, int k) {
  const MaskedConv2dShape& shape = op.shape;
  constexpr int kWindow = Tiles::kKernel * Tiles::kKernel;
  const int panel = k / kTileWidth * kTileWidth, width = smaller(kTileWidth, s.columns_y - panel);
  const int64_t at = int64_t{panel} * shape.c + int64_t{c} * width + k - panel;
  Vector taps[Tiles::kTaps];
  const auto products = [&](int chunk, int plane) {
    if (chunk == Tiles::kChunks) return load(s.sum_centre.data + plane * s.sum_centre.stride + at);
    return load(s.sum_upper.data + plane * s.sum_upper.stride + int64_t{chunk} * shape.c * s.columns_y + at);
  };
  Tiles::transform_weight_gradient(products, taps);
  for (int lane = 0; lane < smaller(kLanes, shape.k - k); ++lane) {
    float* out = op.grad_weight + (int64_t{k + lane} * shape.c + c) * kWindow;
    for (int tap = 0; tap < Tiles::kTaps; ++tap) out[tap] = taps[tap][lane];
    for (int tap = Tiles::kTaps - !sees_centre(shape, k + lane, c); tap < kWindow; ++tap) out[tap] = 0;
  }
}

template <class Tiles>
void Winograd<Tiles>::gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  const MaskedConv2dShape& shape = op.shape;
  const Batch scratch(reinterpret_cast<float*>(context.workspace), shape);
  const int per_image = Tiles::tile_rows(shape.h);
  const int64_t all_rows = int64_t{shape.n} * per_image, pixels = int64_t{shape.h} * shape.w;
  constexpr int kProducts = kCentreWeights + Tiles::kUpperPlanes * Tiles::kChunks;
  std::memset(scratch.bias.data, 0, sizeof(float) * scratch.columns_y);

  // Batches one after the other; inside one, tasks are rows of tiles, then planes. No sum depends on the
  // threads.
  for (int64_t begin = 0; begin < all_rows; begin += scratch.rows) {
    const int rows = static_cast<int>(smaller<int64_t>(scratch.rows, all_rows - begin));
    context.pool.run(rows, [&](int64_t row, int) {
      const int64_t image = (begin + row) / per_image;
      const int tile_row = static_cast<int>((begin + row) % per_image);
      const ImageView x = {op.x + image * pixels * shape.c, shape.h, shape.w, shape.c};
      const ImageView grad_y = {op.grad_y + image * pixels * shape.k, shape.h, shape.w, shape.k};
      const auto at = [&](Planes planes, int tiles, int columns) {
        return Planes{planes.data + row * tiles * columns, planes.stride};
      };
      Tiles::transform_input(x, Direction::kForward, tile_row, scratch.tiles,
                             at(scratch.x_upper, scratch.tiles_upper, scratch.columns_x),
                             at(scratch.x_centre, scratch.tiles, scratch.columns_x));
      Tiles::transform_gradient(grad_y, tile_row, scratch.tiles,
                                at(scratch.y_upper, scratch.tiles, scratch.columns_y),
                                at(scratch.y_centre, scratch.tiles, scratch.columns_y));
      float* bias = scratch.bias_rows.data + row * scratch.bias_rows.stride;
      std::memset(bias, 0, sizeof(float) * scratch.columns_y);
      const int y = tile_row * Tiles::kRows;
      add_columns(grad_y.at(y, 0, 0), shape.k, int64_t{smaller(Tiles::kRows, shape.h - y)} * shape.w, shape.k,
                  bias);
    });
    context.pool.run(kProducts, [&](int64_t task, int) {
      multiply_gradient(scratch, shape.c, rows, static_cast<int>(task), begin == 0);
    });
    for (int64_t row = 0; row < rows; ++row) {
      const float* bias = scratch.bias_rows.data + row * scratch.bias_rows.stride;
      for (int k = 0; k < shape.k; ++k) scratch.bias.data[k] += bias[k];
    }
  }
  std::memcpy(op.grad_bias, scratch.bias.data, sizeof(float) * shape.k);
  context.pool.run(divide_up(shape.c, 8), [&](int64_t task, int) {
    const int begin = static_cast<int>(task) * 8;
    for (int k = 0; k < shape.k; k += kLanes) {
      for (int c = begin; c < smaller(begin + 8, shape.c); ++c) write_gradient(op, scratch, c, k);
    }
  });
}

using Winograd7 = Winograd<WinogradTiles<F43, F44, 7, 2>>;
using Winograd5 = Winograd<WinogradTiles<F42, F45, 5, 1>>;
using Winograd3 = Winograd<WinogradTiles<F11, F43, 3, 1>>;

// Calls body with a Winograd* of the kernel size.
template <class Body>
auto with_variant(int kernel_size, const Body& body) {
  if (kernel_size == 7) return body(Winograd7());
  if (kernel_size == 5) return body(Winograd5());
  return body(Winograd3());
}

}  // namespace

bool has_winograd(int kernel_size) { return kernel_size == 3 || kernel_size == 5 || kernel_size == 7; }

int64_t winograd_packed_bytes(const MaskedConv2dShape& shape, Direction direction) {
  const bool forward = direction == Direction::kForward;
  const int inputs = forward ? shape.c : shape.k, outputs = forward ? shape.k : shape.c;
  return with_variant(shape.kernel_size, [&](auto variant) { return variant.packed_bytes(inputs, outputs); });
}

void winograd_pack(const MaskedConv2dPack& op, Context& context) {
  with_variant(op.shape.kernel_size, [&](auto variant) { variant.pack(op, context); });
}

int64_t winograd_workspace(const MaskedConv2dShape& shape, Direction direction, int threads) {
  const bool forward = direction == Direction::kForward;
  const int inputs = forward ? shape.c : shape.k, outputs = forward ? shape.k : shape.c;
  return with_variant(shape.kernel_size,
                      [&](auto variant) { return variant.workspace(shape, inputs, outputs, threads); });
}

void winograd_convolve(const Convolution& conv, Context& context) {
  with_variant(conv.shape.kernel_size, [&](auto variant) { variant.convolve(conv, context); });
}

int64_t winograd_gradient_workspace(const MaskedConv2dShape& shape) {
  return with_variant(shape.kernel_size, [&](auto variant) { return variant.gradient_workspace(shape); });
}

void winograd_gradient(const MaskedConv2dBackwardWeight& op, Context& context) {
  with_variant(op.shape.kernel_size, [&](auto variant) { variant.gradient(op, context); });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
