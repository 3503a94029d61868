// Defines the shapes, precisions and algorithms that several ops of the op table share.
#pragma once
#include <cstdint>

namespace pixelcnn {

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

// How much of its own row an output pixel sees through a filter. kLeft and kCentre are the masks A and B
// of van den Oord et al. 2016: at the pixel itself an output channel of group g sees the input channels of
// groups < g (kLeft) or <= g (kCentre). Filters over rows above have kNone or kAll.
enum class OwnRow : int32_t { kNone = 0, kLeft = 1, kCentre = 2, kAll = 3 };

// The weights of a filter are rows x columns per pair of channels. The output pixel lies at row `above`,
// column `left` of them. All rows before that are live and all rows after it are masked.
struct Window {
  int32_t rows, columns;
  int32_t above, left;
  OwnRow own_row;

  constexpr int32_t right() const { return columns - 1 - left; }
  constexpr int32_t weights() const { return rows * columns; }
  // Counts the taps in row-major order up to the last one that is live for some channels, as the masks A
  // and B have it; they may see no channel at the centre. kNone counts the rows above only.
  constexpr int32_t taps() const {
    const int32_t own = own_row == OwnRow::kNone ? 0 : own_row == OwnRow::kAll ? columns : left + 1;
    return above * columns + own;
  }
  // Whether the channel groups decide what the filter sees at its centre, which is then the last tap.
  constexpr bool has_grouped_centre() const { return own_row == OwnRow::kLeft || own_row == OwnRow::kCentre; }
  // Whether this is a square with the output pixel in the middle, masked as A or B.
  constexpr bool is_masked_square() const {
    return rows == columns && above == rows / 2 && left == rows / 2 && rows % 2 == 1 && has_grouped_centre();
  }

  template <class V>
  void describe(V& v) {
    v.number("rows", rows, 1, 31);
    v.number("columns", columns, 1, 31);
    v.number("above", above, 0, 15);
    v.number("left", left, 0, 15);
    v.choice("ownRow", own_row, 4);
    v.require(above < rows && left < columns && right() <= 15,
              "the output pixel must lie inside the window, at most 15 pixels from each side");
    v.require(taps() > 0, "the window must have a live tap");
  }
};

// The window of a masked convolution with "same" padding. kernel_size is odd.
constexpr Window masked_square(int32_t kernel_size, OwnRow own_row) {
  return {kernel_size, kernel_size, kernel_size / 2, kernel_size / 2, own_row};
}

// The group of a channel is floor(channel * groups / channels). Returns the first channel of group g.
constexpr int32_t group_begin(int32_t g, int32_t channels, int32_t groups) {
  return static_cast<int32_t>((int64_t{g} * channels + groups - 1) / groups);
}

// The shape of a masked filter from c to k channels, independent of images. With `pairs`, the output
// channels 2i and 2i + 1 are the two halves of a gate, and both have the group of channel i of k / 2: with
// the formula for single channels a pair could lie in two groups.
struct FilterShape {
  int32_t c, k;
  Window window;
  int32_t channel_groups;
  Algorithm algorithm;
  Precision precision = Precision::kF32;
  int32_t pairs = 0;

  int64_t weight_count() const { return int64_t{k} * c * window.weights(); }
  // The first input and output channel of group g.
  constexpr int32_t first_input(int32_t g) const { return group_begin(g, c, channel_groups); }
  constexpr int32_t first_output(int32_t g) const {
    return pairs ? 2 * group_begin(g, k / 2, channel_groups) : group_begin(g, k, channel_groups);
  }
  constexpr int32_t input_group(int32_t channel) const {
    return static_cast<int32_t>(int64_t{channel} * channel_groups / c);
  }
  constexpr int32_t output_group(int32_t channel) const {
    return static_cast<int32_t>(pairs ? int64_t{channel / 2} * channel_groups / (k / 2)
                                      : int64_t{channel} * channel_groups / k);
  }

  template <class V>
  void describe(V& v) {
    v.number("c", c, 1, 1 << 14);
    v.number("k", k, 1, 1 << 16);
    window.describe(v);
    v.number("channelGroups", channel_groups, 1, 256);
    v.choice("algorithm", algorithm, 3);
    v.precision("precision", precision);
    v.number("pairs", pairs, 0, 1);
    v.require(!pairs || k % 2 == 0, "pairs need an even number of output channels");
    v.require(channel_groups <= c && channel_groups <= (pairs ? k / 2 : k),
              "there must be a channel for every group");
  }
};

// A masked filter applied to n images of h x w pixels, with stride 1 and zero padding.
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

// The model's last layer: a 1 x 1 masked convolution (`channels` groups, each sees itself) to channels *
// levels logits per pixel.
struct HeadShape {
  int32_t n, h, w, c, channels, levels;
  Precision precision = Precision::kF32;

  int64_t pixels() const { return int64_t{n} * h * w; }
  MaskedConv2dShape convolution() const {
    const Window window = masked_square(1, OwnRow::kCentre);
    return {{c, channels * levels, window, channels, Algorithm::kDirect, precision}, n, h, w};
  }

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("channels", channels, 1, 256);
    v.number("levels", levels, 2, 256);
    v.precision("precision", precision);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(channels <= c, "there must be a hidden channel for every image channel");
  }
};

// The pixels that an op computes: all pixels of images without a border, or, in the sampler, those that
// are next at t = position + ahead. The position lies in device memory, so that a program can run again
// and again; `ahead` lets one program compute many fronts, and an op run n columns to the right of the
// front, whose `ahead` has n more. The sampler's tensors include their own zero
// border: their shape is (N, pad + H, pad + W + pad, channels), and pixel (i, j) lies at row pad + i,
// column pad + j.
struct Region {
  enum class Pixels : int32_t {
    kImage = 0,
    kFront = 1,  // the pixels (i, j) with j + slope * i = t
    kRow = 2,    // row t / slope if slope divides t, and no pixels otherwise
  };
  static constexpr int32_t kMostFronts = 1 << 16;  // in one program
  static constexpr int32_t kAllGroups = -1;

  Pixels pixels = Pixels::kImage;
  int32_t pad = 0;  // at least the reach of every window
  int32_t slope = 1;
  int32_t ahead = 0;
  int32_t group = kAllGroups;  // the channel group whose output channels are computed

  bool is_image() const { return pixels == Pixels::kImage; }
  // The number of pixels in memory.
  int64_t count(int32_t n, int32_t h, int32_t w) const {
    return is_image() ? int64_t{n} * h * w : int64_t{n} * (pad + h) * (w + 2 * pad);
  }

  template <class V>
  void describe(V& v, int32_t groups) {
    v.choice("pixels", pixels, 3);
    v.number("pad", pad, 0, 15);
    v.number("slope", slope, 1, 1 << 14);
    v.number("ahead", ahead, 0, kMostFronts - 1);
    v.number("group", group, -1, groups - 1);
    v.require(!is_image() || (pad == 0 && ahead == 0 && group == kAllGroups),
              "whole images have no border, no position and all channel groups");
  }
};

// The rows of a condition that is added to activations: one for each image, or one for each pixel.
constexpr int64_t condition_rows(int32_t per_pixel, int32_t n, int32_t h, int32_t w) {
  return per_pixel ? int64_t{n} * h * w : n;
}

}  // namespace pixelcnn
