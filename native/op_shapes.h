// Defines the shapes, precisions and algorithms that several ops of the op table share.
#pragma once
#include <cstdint>

namespace pixelcnn {

enum class MaskType : int32_t { kA = 0, kB = 1 };
enum class Algorithm : int32_t { kAuto = 0, kDirect = 1, kWinograd = 2 };
enum class Direction : int32_t { kForward = 0, kBackward = 1 };

// How activations are stored and multiplied. Sums are always float32. kTf32 stores float32 and rounds the
// factors of a convolution to 10 bits of mantissa. Every backend supports kF32.
enum class Precision : int32_t { kF32 = 0, kTf32 = 1, kBf16 = 2, kF16 = 3 };

constexpr int64_t element_bytes(Precision precision) {
  return precision == Precision::kBf16 || precision == Precision::kF16 ? 2 : 4;
}

// In kF16, gradients of activations are stored multiplied by this power of two, because a gradient of a
// mean over n * h * w pixels would be too small for the format.
constexpr float gradient_scale(Precision precision, int64_t pixels) {
  float scale = 1;
  while (precision == Precision::kF16 && 2 * scale <= static_cast<float>(pixels)) scale *= 2;
  return scale;
}

// The shape of a masked filter, independent of images: kernel_size x kernel_size taps from c to k
// channels. At the centre tap an output channel of group g sees the input channels of groups < g (mask A)
// or <= g (mask B), where group(channel) = floor(channel * channel_groups / channels).
struct FilterShape {
  int32_t c, k;
  int32_t kernel_size;
  MaskType mask;
  int32_t channel_groups;
  Algorithm algorithm;
  Precision precision = Precision::kF32;

  int64_t weight_count() const { return int64_t{k} * c * kernel_size * kernel_size; }

  template <class V>
  void describe(V& v) {
    v.number("c", c, 1, 1 << 14);
    v.number("k", k, 1, 1 << 16);
    v.odd("kernelSize", kernel_size, 1, 31);
    v.choice("mask", mask, 2);
    v.number("channelGroups", channel_groups, 1, 256);
    v.choice("algorithm", algorithm, 3);
    v.precision("precision", precision);
    v.require(channel_groups <= c && channel_groups <= k, "there must be a channel for every group");
  }
};

// A masked filter applied to n images of h x w pixels, with stride 1 and "same" zero padding.
struct MaskedConv2dShape : FilterShape {
  int32_t n, h, w;

  int64_t x_count() const { return int64_t{n} * h * w * c; }
  int64_t y_count() const { return int64_t{n} * h * w * k; }

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    FilterShape::describe(v);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
  }
};

// Describes the wavefront of the sampler, which at position t has the pixels (i, j) with j + slope * i = t.
// The ops read the position from device memory and work on t = position + ahead, so that one program can
// compute many fronts. A t outside the image, or beyond int32, has no pixels. The sampler's activations
// include their own zero border: their shape is (N, pad + H, pad + W + pad, channels), and pixel (i, j)
// lies at row pad + i, column pad + j.
struct FrontShape {
  int32_t pad;    // at least kernel_size / 2 of every layer
  int32_t slope;  // pad + 1, so that the front never needs a pixel that is not drawn yet

  static constexpr int32_t kMostFronts = 1 << 16;  // in one program

  int64_t pixels(int32_t n, int32_t h, int32_t w) const { return int64_t{n} * (pad + h) * (w + 2 * pad); }

  template <class V>
  void describe(V& v) {
    v.number("pad", pad, 0, 15);
    v.number("slope", slope, 1, 16);
  }
};

}  // namespace pixelcnn
