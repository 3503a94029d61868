// Declares the Winograd algorithm of masked convolution. It multiplies less than the direct one, but its
// transforms mix neighbouring pixels, so rounding leaks between them.
#pragma once
#include "masked_conv2d.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

// Whether this is the upper half of an odd square, with the whole row of the output pixel.
constexpr bool is_upper_half(const Window& window) {
  return window.own_row == OwnRow::kAll && window.columns % 2 == 1 && window.left == window.columns / 2 &&
         window.above == window.left && window.rows == window.above + 1;
}

// Whether this is the left half of an odd row, with the output pixel as its last.
constexpr bool is_left_half(const Window& window) {
  return window.has_grouped_centre() && window.rows == 1 && window.right() == 0;
}

// Whether Winograd supports this window. The functions below require that it does.
constexpr bool has_winograd(const Window& window) {
  if (is_left_half(window)) return window.columns >= 2 && window.columns <= 4;
  return (window.is_masked_square() || is_upper_half(window)) &&
         (window.columns == 3 || window.columns == 5 || window.columns == 7);
}

// How many products of the direct algorithm one product of Winograd replaces.
double winograd_saving(const Window& window);

int64_t winograd_packed_bytes(const FilterShape& shape, Direction direction);
void winograd_pack(const FilterPack& filter, Context& context);

int64_t winograd_workspace(const MaskedConv2dShape& shape, Direction direction, int threads);
template <class Out>
void winograd_convolve(const Convolution<Out>& conv, Context& context);

int64_t winograd_gradient_workspace(const MaskedConv2dShape& shape, int threads);
void winograd_gradient(const MaskedConv2dBackwardWeight& op, Context& context);

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
