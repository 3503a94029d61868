// Implements the register-blocked micro-kernels of convolution, which compute a block of pixels for a
// panel of output channels.
#pragma once
#include "element.h"
#include "masked_conv2d_panels.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// One tap of a filter: where its input channels begin relative to the pixel, and how many there are.
struct Tap {
  ptrdiff_t offset;
  int32_t channels;
  int32_t skip;  // first (> 0) or last (< 0) pixels of the block at which this tap lies outside the image; at
                 // most 3
};

// Says where a block of outputs is written, and what is applied to it before.
template <class Out>
struct BlockOutput {
  Out* y;
  ptrdiff_t stride;            // in elements, from one pixel to the next, of y, add and relu_output
  const float* bias;           // or null
  const Out* add;              // or null; it is added after the products
  const Element* relu_output;  // or null; y is 0 where it is <= 0
  int channels;                // without the padding lanes of the panel
  bool relu;
};

// Adds one tap to the sums, factor by factor. It leaves out kFirst pixels at the beginning of the block and
// kLast at its end. Without always_inline, clang keeps the sums in memory.
template <int kPixels, int kVectors, int kFirst, int kLast, class In>
__attribute__((always_inline)) inline const Factor<In>* add_tap(Vector (&sum)[kPixels][kVectors], const In* x,
                                                                ptrdiff_t stride, int channels,
                                                                const Factor<In>* weight) {
  // Uses four base pointers: every pixel is then a base plus 0 to 3 strides, which the processor computes
  // for free.
  const In *x0 = x, *x4 = x + 4 * stride, *x8 = x + 8 * stride, *x12 = x + 12 * stride;
  const auto add_factor = [&](auto read) __attribute__((always_inline)) {
    // The sums, the weights and one factor of x are in registers. If one is missing, the last weights stay in
    // memory, or the compiler would keep a sum there.
    constexpr int kLoaded = kPixels * kVectors + kVectors + 1 > kRegisters ? kVectors - 1 : kVectors;
    decltype(load(weight)) w[kVectors];
    PIXELCNN_UNROLL for (int v = 0; v < kLoaded; ++v) w[v] = load(weight + v * kLanes);
    const Factor<In>* last = weight + kLoaded * kLanes;
    weight += kVectors * kLanes;
    PIXELCNN_UNROLL for (int p = kFirst; p < kPixels - kLast; ++p) {
      const In* base = p < 4 ? x0 : p < 8 ? x4 : p < 12 ? x8 : x12;
      const auto a = splat(read(base + (p & 3) * stride));
      PIXELCNN_UNROLL for (int v = 0; v < kLoaded; ++v) sum[p][v] = multiply_add(sum[p][v], a, w[v]);
      if constexpr (kLoaded < kVectors) sum[p][kLoaded] = multiply_add_loaded(sum[p][kLoaded], a, last);
    }
  };
  constexpr int kStep = kPerFactor<In>;
  for (int c = kStep; c <= channels; c += kStep) {
    add_factor([](const In* p) __attribute__((always_inline)) { return read_factor(p); });
    x0 += kStep, x4 += kStep, x8 += kStep, x12 += kStep;
  }
  if constexpr (kStep > 1) {
    if (channels % kStep != 0)
      add_factor([](const In* p) __attribute__((always_inline)) { return read_half_factor(p); });
  }
  return weight;
}

// Applies `body(sum, offset of its lanes in a pixel-strided tensor, lanes)` to every sum of a block.
template <int kPixels, int kVectors, class Out, class Body>
__attribute__((always_inline)) inline void for_each_sum(Vector (&sum)[kPixels][kVectors],
                                                        const BlockOutput<Out>& out, const Body& body) {
  PIXELCNN_UNROLL for (int p = 0; p < kPixels; ++p) {
    PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) {
      body(sum[p][v], p * out.stride + v * kLanes, out.channels - v * kLanes);
    }
  }
}

// Finishes and stores the sums of a block. With kFull, the panel has no padding lanes.
template <bool kFull, int kPixels, int kVectors, class Out>
__attribute__((always_inline)) inline void finish_block(Vector (&sum)[kPixels][kVectors],
                                                        const BlockOutput<Out>& out) {
  const auto read = [](const auto* from, int lanes) __attribute__((always_inline)) {
    return kFull ? load(from) : load_partial(from, lanes);
  };
  // Adding 0 turns -0 into +0, so skipping a tap at the border and multiplying a padding zero give the same
  // bits.
  for_each_sum(
      sum, out, [](Vector & s, ptrdiff_t, int) __attribute__((always_inline)) { s += splat(0.0f); });
  if (out.add) {
    for_each_sum(
        sum, out, [&](Vector & s, ptrdiff_t at, int lanes) __attribute__((always_inline)) {
          s += read(out.add + at, lanes);
        });
  }
  if (out.relu) {
    for_each_sum(
        sum, out,
        [](Vector & s, ptrdiff_t, int) __attribute__((always_inline)) { s = s < Vector{} ? Vector{} : s; });
  }
  if (out.relu_output) {
    for_each_sum(
        sum, out, [&](Vector & s, ptrdiff_t at, int lanes) __attribute__((always_inline)) {
          s = read(out.relu_output + at, lanes) <= Vector{} ? Vector{} : s;
        });
  }
  for_each_sum(
      sum, out, [&](Vector & s, ptrdiff_t at, int lanes) __attribute__((always_inline)) {
        kFull ? store(out.y + at, s) : store_partial(out.y + at, s, lanes);
      });
}

template <int kPixels, int kVectors, class Out>
__attribute__((always_inline)) inline void store_block(Vector (&sum)[kPixels][kVectors],
                                                       const BlockOutput<Out>& out) {
  out.channels >= kVectors* kLanes ? finish_block<true>(sum, out) : finish_block<false>(sum, out);
}

// Asks for the cache lines that store_block will need, which arrive while the products are computed.
template <int kPixels, int kVectors, class Out>
__attribute__((always_inline)) inline void prefetch_block(const BlockOutput<Out>& out) {
  constexpr int kLine = 64 / sizeof(Out);
  for (int p = 0; p < kPixels; ++p) {
    for (int c = 0; c < kVectors * kLanes; c += kLine) {
      __builtin_prefetch(out.y + p * out.stride + c, 1);
      if (out.add) __builtin_prefetch(out.add + p * out.stride + c);
    }
  }
}

// Computes a block of pixels for one panel: the bias, then the taps in order, and in each the input
// channels in order, with one FMA or dot product per factor.
template <int kPixels, int kVectors, class Out>
__attribute__((noinline)) void convolve_block(const Element* x, ptrdiff_t stride, const Tap* taps,
                                              int tap_count, const Factor<Element>* weight,
                                              const BlockOutput<Out>& out) {
  prefetch_block<kPixels, kVectors>(out);
  Vector sum[kPixels][kVectors];
  PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) {
    const Vector bias = out.bias ? load_partial(out.bias + v * kLanes, out.channels - v * kLanes) : Vector{};
    PIXELCNN_UNROLL for (int p = 0; p < kPixels; ++p) sum[p][v] = bias;
  }
  for (const Tap* tap = taps; tap < taps + tap_count; ++tap) {
    const Element* first = x + tap->offset;
    const int channels = tap->channels;
    if constexpr (kPixels > 3) {
      switch (tap->skip) {
        case 1:
          weight = add_tap<kPixels, kVectors, 1, 0>(sum, first, stride, channels, weight);
          continue;
        case 2:
          weight = add_tap<kPixels, kVectors, 2, 0>(sum, first, stride, channels, weight);
          continue;
        case 3:
          weight = add_tap<kPixels, kVectors, 3, 0>(sum, first, stride, channels, weight);
          continue;
        case -1:
          weight = add_tap<kPixels, kVectors, 0, 1>(sum, first, stride, channels, weight);
          continue;
        case -2:
          weight = add_tap<kPixels, kVectors, 0, 2>(sum, first, stride, channels, weight);
          continue;
        case -3:
          weight = add_tap<kPixels, kVectors, 0, 3>(sum, first, stride, channels, weight);
          continue;
      }
    }
    weight = add_tap<kPixels, kVectors, 0, 0>(sum, first, stride, channels, weight);
  }
  store_block(sum, out);
}

// Computes a matrix product for Winograd: y = sum over taps of x * weight, without padding lanes.
template <int kPixels, int kVectors>
__attribute__((noinline)) void multiply_block(const float* x, ptrdiff_t stride, const Tap* taps,
                                              int tap_count, const float* weight,
                                              const BlockOutput<float>& out) {
  Vector sum[kPixels][kVectors] = {};
  for (const Tap* tap = taps; tap < taps + tap_count; ++tap) {
    weight = add_tap<kPixels, kVectors, 0, 0>(sum, x + tap->offset, stride, tap->channels, weight);
  }
  PIXELCNN_UNROLL for (int p = 0; p < kPixels; ++p) {
    PIXELCNN_UNROLL for (int v = 0; v < kVectors; ++v) store(out.y + p * out.stride + v * kLanes, sum[p][v]);
  }
}

template <class In, class Out>
using Block = void (*)(const In* x, ptrdiff_t stride, const Tap* taps, int tap_count,
                       const Factor<In>* weight, const BlockOutput<Out>& out);

// Finds the kernel for 1 to kMostPixels pixels and 1 to kMostVectors vectors at run time.
template <int kMostPixels, int kMostVectors, bool kMultiply, class In, class Out>
class Blocks {
 public:
  static Block<In, Out> get(int pixels, int vectors) {
    return find<kMostPixels, kMostVectors>(pixels, vectors);
  }

 private:
  template <int kPixels, int kVectors>
  static Block<In, Out> find(int pixels, int vectors) {
    if constexpr (kVectors > 1) {
      if (vectors < kVectors) return find<kPixels, kVectors - 1>(pixels, vectors);
    }
    if constexpr (kPixels > 1) {
      if (pixels < kPixels) return find<kPixels - 1, kVectors>(pixels, vectors);
    }
    if constexpr (kMultiply)
      return multiply_block<kPixels, kVectors>;
    else
      return convolve_block<kPixels, kVectors, Out>;
  }
};
template <class Out>
using ConvolveBlocks = Blocks<kBlockPixels, kBlockVectors, false, Element, Out>;
using MultiplyBlocks = Blocks<kGemmPixels, kGemmVectors, true, float, float>;

// Cuts `total` into the fewest runs of at most `most`, as even as possible, and calls body(begin, length)
// for each.
template <class Body>
inline void for_each_run(int total, int most, const Body& body) {
  int runs = static_cast<int>(divide_up(total, most));
  for (int begin = 0; runs > 0; --runs) {
    const int length = static_cast<int>(divide_up(total - begin, runs));
    body(begin, length);
    begin += length;
  }
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
