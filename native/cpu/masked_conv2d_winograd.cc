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
  const int window = shape.window.weights(), last = shape.window.taps() - 1;

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
          for (int tap = 0; tap < last; ++tap) lanes[tap][lane] = from[tap];
          if (sees_last_tap(shape, k, c)) lanes[last][lane] = from[last];
        }
        Vector taps[Tiles::kTaps];
        for (int tap = 0; tap < Tiles::kTaps; ++tap) taps[tap] = load(lanes[tap]);
        Tiles::transform_weights(taps, filter.direction, [&](int chunk, int plane, Vector value) {
          store(weights.panel(plane, panel) + (int64_t{chunk} * inputs + input) * width + column - panel,
                value);
        });
      }
    }
  });
}

// Multiplies each plane of the transformed input by that plane of the weights, and asks for what is needed
// next.
template <class Tiles, size_t kCount>
void multiply_planes(const WinogradStrip<Tiles>& scratch, const WinogradWeights<Tiles>& weights, int inputs,
                     int rows, const Ahead (&ahead)[kCount]) {
  Tap taps[Tiles::kChunks];
  for (int chunk = 0; chunk < Tiles::kChunks; ++chunk)
    taps[chunk] = {int64_t{chunk} * scratch.columns_in, inputs, 0};
  for (int column = 0; column < scratch.columns_out; column += kGemmWidth) {
    const int vectors = smaller(kGemmVectors, (scratch.columns_out - column) / kLanes);
    for (int plane = 0; plane < Tiles::kPlanes; ++plane) {
      const float* x = scratch.input.data + plane * scratch.input.stride;
      float* y = scratch.output.data + plane * scratch.output.stride + column;
      if (column == 0)
        for (const Ahead& range : ahead) range.prefetch_part(plane, Tiles::kPlanes);
      for (int row = 0; row < rows; ++row) {
        for_each_run(scratch.tiles, kGemmPixels, [&](int tile, int count) {
          const BlockOutput<float> out = {y + (int64_t{row} * scratch.tiles + tile) * scratch.columns_out,
                                          scratch.columns_out,
                                          nullptr,
                                          nullptr,
                                          nullptr,
                                          vectors * kLanes,
                                          false};
          MultiplyBlocks::get(count, vectors)(
              x + (int64_t{row} * scratch.tiles_in + tile) * scratch.columns_in, scratch.columns_in, taps,
              Tiles::kChunks, weights.panel(plane, column), out);
        });
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
  const WinogradStrip<Tiles> layout(nullptr, shape, inputs, outputs);
  const int64_t strips = divide_up(all_rows, layout.rows);

  context.pool.run(shape.n * strips, [&](int64_t task, int thread) {
    float* data = reinterpret_cast<float*>(context.workspace) + thread * layout.floats;
    const WinogradStrip<Tiles> scratch(data, shape, inputs, outputs);
    const int64_t image = task / strips;
    const int begin = static_cast<int>(share_begin(all_rows, task % strips, strips));
    const int rows = static_cast<int>(share_begin(all_rows, task % strips + 1, strips)) - begin;
    const ImageView view = {conv.x + image * shape.h * shape.w * inputs, shape.h, shape.w, inputs};
    for (int row = 0; row < rows; ++row) {
      Tiles::transform_input(
          view, shape.window, conv.direction, begin + row, scratch.tiles, scratch.columns,
          {scratch.input.data + int64_t{row} * scratch.tiles_in * scratch.columns_in, scratch.input.stride});
    }
    const int first = begin * Tiles::kRows, last = smaller(shape.h, first + rows * Tiles::kRows);
    const int64_t at = (image * shape.h + first) * shape.w, pixels = int64_t{last - first} * shape.w;
    // The next task of this thread is most probably the next one.
    const int64_t next = smaller(at + pixels, int64_t{shape.n} * shape.h * shape.w - pixels);
    const Ahead ahead[] = {{conv.x + next * inputs, pixels * inputs},
                           {conv.y + at * outputs, pixels * outputs},
                           {conv.relu_output ? conv.relu_output + at * outputs : nullptr, pixels * outputs},
                           {conv.add ? conv.add + at * outputs : nullptr, pixels * outputs}};
    multiply_planes(scratch, weights, inputs, rows, ahead);
    for (int index = 0; index < rows * scratch.tiles; ++index) {
      for (int channel = 0; channel < outputs; channel += kLanes) {
        const Vector bias = conv.bias ? load_partial(conv.bias + channel, outputs - channel) : Vector{};
        Vector tile[Tiles::kRows][Tiles::kColumns];
        Tiles::transform_output(
            {scratch.output.data + int64_t{index} * scratch.columns_out + channel, scratch.output.stride},
            bias, tile);
        store_tile<Tiles>(conv, image, (begin + index / scratch.tiles) * Tiles::kRows,
                          index % scratch.tiles * Tiles::kColumns, channel, tile);
      }
    }
  });
}

}  // namespace

double winograd_saving(const Window& window) {
  return with_winograd(window, [&](auto tiles) {
    using Tiles = decltype(tiles);
    const double direct = window.taps() * Tiles::kRows * Tiles::kColumns;
    return direct / (Tiles::kPlanes * Tiles::kChunks);
  });
}

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
