// Computes masked convolutions by nested Winograd: it transforms the input, multiplies one matrix per
// plane, and transforms the products back.
#include "masked_conv2d_winograd.h"

#include "masked_conv2d_taps.h"
#include "thread_pool.h"
#include "winograd_scratch.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

namespace {

constexpr int kGemmWidth = kGemmVectors * kLanes;

template <class Tiles>
void pack(const FilterPack& filter, Context& context) {
  const FilterShape& shape = filter.shape;
  const bool forward = filter.direction == Direction::kForward;
  const int inputs = forward ? shape.c : shape.k, outputs = forward ? shape.k : shape.c;
  const WinogradWeights<Tiles> weights(static_cast<float*>(filter.packed), inputs, outputs);
  constexpr int kChannels = 8;
  const int window = shape.window.weights();

  context.pool.run(divide_up(inputs, kChannels), [&](int64_t task, int) {
    const int begin = static_cast<int>(task) * kChannels, end = smaller(begin + kChannels, inputs);
    for (int column = 0; column < weights.columns(); column += kLanes) {
      const int panel = column / kGemmWidth * kGemmWidth,
                width = smaller(kGemmWidth, weights.columns() - panel);
      for (int input = begin; input < end; ++input) {
        alignas(64) float lanes[Tiles::kTaps][kLanes] = {};
        for (int lane = 0; lane < smaller(kLanes, outputs - column); ++lane) {
          const int k = forward ? column + lane : input, c = forward ? input : column + lane;
          const float* from = filter.weight + (int64_t{k} * shape.c + c) * window;
          for (int tap = 0; tap < Tiles::kTaps - 1; ++tap) lanes[tap][lane] = from[tap];
          if (!Tiles::kHasCentre || sees_centre(shape, k, c))
            lanes[Tiles::kTaps - 1][lane] = from[Tiles::kTaps - 1];
        }
        Vector taps[Tiles::kTaps];
        for (int tap = 0; tap < Tiles::kTaps; ++tap) taps[tap] = load(lanes[tap]);
        Tiles::transform_weights(taps, filter.direction, [&](int chunk, int plane, Vector value) {
          float* to = chunk < Tiles::kChunks ? weights.upper(plane, panel) + int64_t{chunk} * inputs * width
                                             : weights.centre(plane, panel);
          store(to + int64_t{input} * width + column - panel, value);
        });
      }
    }
  });
}

template <class Tiles>
void multiply_planes(const WinogradStrip<Tiles>& scratch, const WinogradWeights<Tiles>& weights, int inputs,
                     int rows) {
  Tap taps[Tiles::kChunks];
  for (int chunk = 0; chunk < Tiles::kChunks; ++chunk)
    taps[chunk] = {int64_t{chunk} * scratch.columns_in, inputs, 0};
  const auto multiply_row = [&](const float* x, int chunks, const float* panel, int vectors, float* y) {
    for_each_run(scratch.tiles, kGemmPixels, [&](int tile, int count) {
      const BlockOutput<float> out = {y + int64_t{tile} * scratch.columns_out,
                               scratch.columns_out,
                               nullptr,
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
    for (int plane = 0; plane < Tiles::kCentreWeights; ++plane) {
      for (int pixel_row = 0; pixel_row < Tiles::kRows; ++pixel_row) {
        const int at = pixel_row * Tiles::Horizontal::n + plane;
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

template <class Tiles, class Out>
void store_tile(const Convolution<Out>& conv, int64_t image, int y, int x, int channel,
                const Vector (&tile)[Tiles::kRows][Tiles::kColumns]) {
  const int outputs = conv.outputs(), lanes = outputs - channel;
  const int rows = smaller(Tiles::kRows, conv.shape.h - y),
            columns = smaller(Tiles::kColumns, conv.shape.w - x);
  PIXELCNN_UNROLL for (int r = 0; r < Tiles::kRows; ++r) {
    PIXELCNN_UNROLL for (int q = 0; q < Tiles::kColumns; ++q) {
      if (r >= rows || q >= columns) continue;
      const int64_t at = ((image * conv.shape.h + y + r) * conv.shape.w + x + q) * outputs + channel;
      Vector value = tile[r][q];
      if (conv.add) value += load_partial(conv.add + at, lanes);
      if (conv.relu) value = value < Vector{} ? Vector{} : value;
      if (conv.relu_output) value = load_partial(conv.relu_output + at, lanes) <= Vector{} ? Vector{} : value;
      store_partial(conv.y + at, value, lanes);
    }
  }
}

template <class Tiles, class Out>
void convolve(const Convolution<Out>& conv, Context& context) {
  const MaskedConv2dShape& shape = conv.shape;
  const int inputs = conv.inputs(), outputs = conv.outputs(), all_rows = Tiles::tile_rows(shape.h);
  const WinogradWeights<Tiles> weights(const_cast<float*>(static_cast<const float*>(conv.packed)), inputs,
                                       outputs);
  const int64_t strips = divide_up(all_rows, WinogradStrip<Tiles>::kTileRows);

  context.pool.run(shape.n * strips, [&](int64_t task, int thread) {
    float* data = reinterpret_cast<float*>(context.workspace);
    const WinogradStrip<Tiles> layout(nullptr, shape, inputs, outputs);
    const WinogradStrip<Tiles> scratch(data + thread * layout.floats, shape, inputs, outputs);
    const int64_t image = task / strips;
    const int begin = static_cast<int>(task % strips) * WinogradStrip<Tiles>::kTileRows;
    const int rows = smaller(WinogradStrip<Tiles>::kTileRows, all_rows - begin);
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
        store_tile<Tiles>(conv, image, (begin + index / scratch.tiles) * Tiles::kRows,
                          index % scratch.tiles * Tiles::kColumns, channel, tile);
      }
    }
  });
}

}  // namespace

int64_t winograd_packed_bytes(const FilterShape& shape, Direction direction) {
  const bool forward = direction == Direction::kForward;
  return with_winograd(shape.window, [&](auto tiles) {
    const WinogradWeights<decltype(tiles)> weights(nullptr, forward ? shape.c : shape.k,
                                                   forward ? shape.k : shape.c);
    return weights.floats() * int64_t{sizeof(float)};
  });
}

void winograd_pack(const FilterPack& filter, Context& context) {
  with_winograd(filter.shape.window, [&](auto tiles) { pack<decltype(tiles)>(filter, context); });
}

int64_t winograd_workspace(const MaskedConv2dShape& shape, Direction direction, int threads) {
  const bool forward = direction == Direction::kForward;
  return with_winograd(shape.window, [&](auto tiles) {
    const WinogradStrip<decltype(tiles)> strip(nullptr, shape, forward ? shape.c : shape.k,
                                               forward ? shape.k : shape.c);
    return threads * strip.floats * int64_t{sizeof(float)};
  });
}

template <class Out>
void winograd_convolve(const Convolution<Out>& conv, Context& context) {
  with_winograd(conv.shape.window, [&](auto tiles) { convolve<decltype(tiles)>(conv, context); });
}
template void winograd_convolve(const Convolution<Element>& conv, Context& context);
#if defined(PIXELCNN_BF16)
template void winograd_convolve(const Convolution<float>& conv, Context& context);
#endif

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
