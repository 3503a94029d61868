// Computes weight gradients in register-blocked tiles, and adds partial gradients in a fixed order.
#pragma once
#include "element.h"
#include "masked_conv2d_panels.h"
#include "thread_pool.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// The operands of a gradient tile: rows x pixels of x, from the tile's first channel on, and of one panel
// of grad_y. They are floats, or pairs of bf16 values of two images or two pixels.
template <class F>
struct TileInput {
  const F* x;
  ptrdiff_t x_pixel, x_row;
  const F* grad_y;
  ptrdiff_t grad_y_pixel, grad_y_row;
  int rows, pixels;
  int grad_y_lanes;  // lanes of the panel without padding; fewer than its width only if kPartial
};

// Computes sum[m][panel] += sum over rows and pixels of x[m] * grad_y[panel].
template <int kChannels, int kVectors, bool kPartial, class F>
__attribute__((noinline)) void accumulate_tile(const TileInput<F>& in, float* sums, ptrdiff_t sum_stride) {
  Vector sum[kChannels][kVectors];
  PIXELCNN_UNROLL for (int m = 0; m < kChannels; ++m) {
    PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) sum[m][v] = load(sums + m * sum_stride + v * kLanes);
  }
  const int pixels = in.pixels;
  const ptrdiff_t x_pixel = in.x_pixel, grad_y_pixel = in.grad_y_pixel;
  const int last_lanes = in.grad_y_lanes - (kVectors - 1) * kLanes;
  for (int row = 0; row < in.rows; ++row) {
    const F* x = in.x + row * in.x_row;
    const F* grad_y = in.grad_y + row * in.grad_y_row;
    for (int p = 0; p < pixels; ++p, x += x_pixel, grad_y += grad_y_pixel) {
      decltype(load(grad_y)) g[kVectors];
      PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) {
        const F* lanes = grad_y + v * kLanes;
        g[v] = kPartial && v == kVectors - 1 ? load_partial(lanes, last_lanes) : load(lanes);
      }
      PIXELCNN_UNROLL for (int m = 0; m < kChannels; ++m) {
        const auto a = splat(x[m]);
        PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) sum[m][v] = multiply_add(sum[m][v], a, g[v]);
      }
    }
  }
  PIXELCNN_UNROLL for (int m = 0; m < kChannels; ++m) {
    PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) store(sums + m * sum_stride + v * kLanes, sum[m][v]);
  }
}

template <class F>
using Tile = void (*)(const TileInput<F>& in, float* sums, ptrdiff_t sum_stride);

template <class F, int kChannels = kTileChannels, int kVectors = kBlockVectors>
inline Tile<F> find_tile(int channels, int vectors, bool partial) {
  if constexpr (kVectors > 1) {
    if (vectors < kVectors) return find_tile<F, kChannels, kVectors - 1>(channels, vectors, partial);
  }
  if constexpr (kChannels > 1) {
    if (channels < kChannels) return find_tile<F, kChannels - 1, kVectors>(channels, vectors, partial);
  }
  return partial ? accumulate_tile<kChannels, kVectors, true, F>
                 : accumulate_tile<kChannels, kVectors, false, F>;
}

// Adds the products of `channels` consecutive factors at in.x to sums[channel][panel].
template <class F>
inline void accumulate(TileInput<F> in, int channels, int vectors, float* sums) {
  const int width = vectors * kLanes;
  const bool partial = in.grad_y_lanes < width;
  for (int c = 0; c < channels; c += kTileChannels) {
    const int tile = smaller(kTileChannels, channels - c);
    find_tile<F>(tile, vectors, partial)(in, sums + c * width, width);
    in.x += tile;
  }
}

// Adds the sum of grad_y over pixels to sums[lane]: the bias gradient of one panel.
template <class T>
inline void add_columns(const T* grad_y, int64_t stride, int64_t pixels, int channels, float* sums) {
  for (int lane = 0; lane < channels; lane += kLanes) {
    Vector sum = load(sums + lane);
    for (int64_t p = 0; p < pixels; ++p) sum += load_partial(grad_y + p * stride + lane, channels - lane);
    store(sums + lane, sum);
  }
}

// A partial gradient holds the sums of the weights, and then a bias for each column.
inline int64_t partial_gradient_floats(const PanelLayout& layout) { return layout.sums() + layout.columns(); }

// Adds `parts` partial gradients in order and writes grad_weight (K, C, R, S), with 0 under the mask, and
// grad_bias unless it is null.
inline void reduce_gradients(const MaskedConv2dShape& shape, const float* partial, int parts,
                             float* grad_weight, float* grad_bias, ThreadPool& pool) {
  const PanelLayout layout(shape, Direction::kForward);
  const int64_t stride = partial_gradient_floats(layout);
  const int window = shape.window.weights(), taps = layout.taps();
  constexpr int kChannels = 8;
  const int64_t channel_tasks = divide_up(shape.c, kChannels);
  pool.run(layout.panels() * channel_tasks, [&](int64_t task, int) {
    const Panel panel = layout.panel(static_cast<int>(task / channel_tasks));
    const int begin = static_cast<int>(task % channel_tasks) * kChannels;
    const auto sum = [&](int64_t at) {
      Vector total = load(partial + at);
      for (int part = 1; part < parts; ++part) total += load(partial + part * stride + at);
      return total;
    };
    for (int v = 0; v < panel.vectors; ++v) {
      const int lanes = smaller(kLanes, panel.channels - v * kLanes);
      for (int c = begin; c < smaller(begin + kChannels, shape.c); ++c) {
        float* out = grad_weight + (int64_t{panel.first + v * kLanes} * shape.c + c) * window;
        const int live = c < panel.centre_end ? taps : taps - 1;
        for (int tap = 0; tap < live; ++tap) {
          const Vector total =
              sum(layout.sum_offset(panel) + (int64_t{tap} * shape.c + c) * panel.width() + v * kLanes);
          for (int lane = 0; lane < lanes; ++lane) out[lane * int64_t{shape.c} * window + tap] = total[lane];
        }
        for (int lane = 0; lane < lanes; ++lane) {
          for (int tap = live; tap < window; ++tap) out[lane * int64_t{shape.c} * window + tap] = 0;
        }
      }
      if (begin == 0 && grad_bias) {
        store_partial(grad_bias + panel.first + v * kLanes, sum(layout.sums() + panel.column + v * kLanes),
                      lanes);
      }
    }
  });
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
