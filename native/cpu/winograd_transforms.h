// Defines the matrices of the Winograd (Toom-Cook) algorithm for m outputs of a filter with r taps: y = AT
// ((G g) * (BT d)), where n = m + r - 1.
//
// The interpolation points are 0, 1, -1, 2, then -1/2 or the pair -2 and 1/2, -1/2, and infinity. Those of
// F44 are 0, 1/2, 1, 2, -3/4, -3/2 and infinity. F44 nests with itself, and with the points of the others its
// rounding error would be a third larger; no set of small fractions had a much smaller one. Rows are scaled
// so that rounding errors balance.
#pragma once
#include "simd.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

struct F43 {
  static constexpr int m = 4, r = 3, n = 6;
  static constexpr float AT[4][6] = {
      {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -0.5f, 0}, {0, 1, 1, 4, 0.25f, 0}, {0, 1, -1, 8, -0.125f, 1}};
  static constexpr float G[6][3] = {{1, 0, 0},
                                    {-2.0f / 3, -2.0f / 3, -2.0f / 3},
                                    {2.0f / 3, -2.0f / 3, 2.0f / 3},
                                    {1.0f / 30, 1.0f / 15, 2.0f / 15},
                                    {-16.0f / 15, 8.0f / 15, -4.0f / 15},
                                    {0, 0, 1}};
  static constexpr float BT[6][6] = {{1, 1.5f, -2, -1.5f, 1, 0},
                                     {0, -0.5f, -1.25f, -0.25f, 0.5f, 0},
                                     {0, 0.5f, 0.25f, -1.25f, 0.5f, 0},
                                     {0, -1, -2, 1, 2, 0},
                                     {0, 2, -1, -2, 1, 0},
                                     {0, 1, 1.5f, -2, -1.5f, 1}};
};

struct F44 {
  static constexpr int m = 4, r = 4, n = 7;
  static constexpr float AT[4][7] = {{1, 1, 1, 1, 1, 1, 0},
                                     {0, 0.5f, 1, 2, -0.75f, -1.5f, 0},
                                     {0, 0.25f, 1, 4, 0.5625f, 2.25f, 0},
                                     {0, 0.125f, 1, 8, -0.421875f, -3.375f, 1}};
  static constexpr float G[7][4] = {{-32.0f / 9, 0, 0, 0},
                                    {64.0f / 15, 32.0f / 15, 16.0f / 15, 8.0f / 15},
                                    {-64.0f / 35, -64.0f / 35, -64.0f / 35, -64.0f / 35},
                                    {16.0f / 231, 32.0f / 231, 64.0f / 231, 128.0f / 231},
                                    {4096.0f / 3465, -1024.0f / 1155, 256.0f / 385, -192.0f / 385},
                                    {-64.0f / 315, 32.0f / 105, -16.0f / 35, 24.0f / 35},
                                    {0, 0, 0, 4}};
  static constexpr float BT[7][7] = {{-0.28125f, 0.421875f, 0.734375f, -0.8125f, -0.3125f, 0.25f, 0},
                                     {0, 0.5625f, 0.28125f, -0.90625f, -0.1875f, 0.25f, 0},
                                     {0, 0.28125f, -0.140625f, -0.875f, -0.0625f, 0.25f, 0},
                                     {0, 0.28125f, -0.28125f, -0.875f, 0.375f, 0.5f, 0},
                                     {0, -0.375f, 1.0625f, -0.4375f, -0.5f, 0.25f, 0},
                                     {0, -0.1875f, 0.40625f, 0.21875f, -0.6875f, 0.25f, 0},
                                     {0, -0.28125f, 0.421875f, 0.734375f, -0.8125f, -0.3125f, 0.25f}};
};

struct F42 {
  static constexpr int m = 4, r = 2, n = 5;
  static constexpr float AT[4][5] = {{1, 1, 1, 1, 0}, {0, 1, -1, 2, 0}, {0, 1, 1, 4, 0}, {0, 1, -1, 8, 1}};
  static constexpr float G[5][2] = {
      {0.5f, 0}, {-0.5f, -0.5f}, {-1.0f / 3, 1.0f / 3}, {1.0f / 12, 1.0f / 6}, {0, 1}};
  static constexpr float BT[5][5] = {
      {2, -1, -2, 1, 0}, {0, -2, -1, 1, 0}, {0, 1, -1.5f, 0.5f, 0}, {0, -2, 0, 2, 0}, {0, 2, -1, -2, 1}};
};

struct F45 {
  static constexpr int m = 4, r = 5, n = 8;
  static constexpr float AT[4][8] = {{1, 1, 1, 1, 1, 1, 1, 0},
                                     {0, 1, -1, 2, -2, 0.5f, -0.5f, 0},
                                     {0, 1, 1, 4, 4, 0.25f, 0.25f, 0},
                                     {0, 1, -1, 8, -8, 0.125f, -0.125f, 1}};
  static constexpr float G[8][5] = {{-4, 0, 0, 0, 0},
                                    {-8.0f / 9, -8.0f / 9, -8.0f / 9, -8.0f / 9, -8.0f / 9},
                                    {-8.0f / 9, 8.0f / 9, -8.0f / 9, 8.0f / 9, -8.0f / 9},
                                    {1.0f / 45, 2.0f / 45, 4.0f / 45, 8.0f / 45, 16.0f / 45},
                                    {1.0f / 45, -2.0f / 45, 4.0f / 45, -8.0f / 45, 16.0f / 45},
                                    {128.0f / 45, 64.0f / 45, 32.0f / 45, 16.0f / 45, 8.0f / 45},
                                    {128.0f / 45, -64.0f / 45, 32.0f / 45, -16.0f / 45, 8.0f / 45},
                                    {0, 0, 0, 0, 4}};
  static constexpr float BT[8][8] = {{-0.25f, 0, 1.3125f, 0, -1.3125f, 0, 0.25f, 0},
                                     {0, 0.25f, 0.25f, -1.0625f, -1.0625f, 0.25f, 0.25f, 0},
                                     {0, -0.25f, 0.25f, 1.0625f, -1.0625f, -0.25f, 0.25f, 0},
                                     {0, 0.25f, 0.125f, -1.25f, -0.625f, 1, 0.5f, 0},
                                     {0, -0.25f, 0.125f, 1.25f, -0.625f, -1, 0.5f, 0},
                                     {0, 0.5f, 1, -0.625f, -1.25f, 0.125f, 0.25f, 0},
                                     {0, -0.5f, 1, 0.625f, -1.25f, -0.125f, 0.25f, 0},
                                     {0, -0.25f, 0, 1.3125f, 0, -1.3125f, 0, 0.25f}};
};

// One output of one tap, for the rows of a filter that has only one.
struct F11 {
  static constexpr int m = 1, r = 1, n = 1;
  static constexpr float AT[1][1] = {{1}};
  static constexpr float G[1][1] = {{1}};
  static constexpr float BT[1][1] = {{1}};
};

// Computes out = initial + M in, without the products with zeros of M.
template <const auto& kMatrix>
__attribute__((always_inline)) inline void multiply(const Vector* in, Vector* out,
                                                    Vector initial = Vector{}) {
  constexpr int kRows = sizeof(kMatrix) / sizeof(kMatrix[0]), kColumns = sizeof(kMatrix[0]) / sizeof(float);
  PIXELCNN_UNROLL for (int i = 0; i < kRows; ++i) {
    Vector sum = initial;
    PIXELCNN_UNROLL for (int j = 0; j < kColumns; ++j) {
      if (kMatrix[i][j] != 0) sum += splat(kMatrix[i][j]) * in[j];
    }
    out[i] = sum;
  }
}

// Computes out = M^T in.
template <const auto& kMatrix>
__attribute__((always_inline)) inline void multiply_transposed(const Vector* in, Vector* out) {
  constexpr int kRows = sizeof(kMatrix) / sizeof(kMatrix[0]), kColumns = sizeof(kMatrix[0]) / sizeof(float);
  PIXELCNN_UNROLL for (int j = 0; j < kColumns; ++j) {
    Vector sum = {};
    PIXELCNN_UNROLL for (int i = 0; i < kRows; ++i) {
      if (kMatrix[i][j] != 0) sum += splat(kMatrix[i][j]) * in[i];
    }
    out[j] = sum;
  }
}

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
