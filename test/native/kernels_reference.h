// Implements the formulas of native/ops.h as naive loops in double precision, to compare the kernels with.
#pragma once
#include <cmath>
#include <vector>

#include "../../native/ops.h"

namespace pixelcnn::reference {

using Doubles = std::vector<double>;

// The channel group of output channel k. The two halves of a gate have that of their gate.
inline int64_t output_group(const FilterShape& shape, int k) {
  const int halves = shape.pairs ? 2 : 1;
  return int64_t{k / halves} * shape.channel_groups / (shape.k / halves);
}

// Whether output channel k sees input channel c at filter row r, column s.
inline bool live(const FilterShape& shape, int k, int c, int r, int s) {
  const Window& window = shape.window;
  if (r != window.above) return r < window.above;
  if (window.own_row == OwnRow::kNone) return false;
  if (window.own_row == OwnRow::kAll) return true;
  if (s != window.left) return s < window.left;
  const int64_t output = output_group(shape, k), input = int64_t{c} * shape.channel_groups / shape.c;
  return window.own_row == OwnRow::kCentre ? input <= output : input < output;
}

// Calls body(x index, y index, weight index) for every product of the convolution.
template <class Body>
void for_each_product(const MaskedConv2dShape& shape, const Body& body) {
  const Window& window = shape.window;
  for (int r = 0; r < window.rows; ++r) {
    for (int s = 0; s < window.columns; ++s) {
      for (int k = 0; k < shape.k; ++k) {
        for (int c = 0; c < shape.c; ++c) {
          if (!live(shape, k, c, r, s)) continue;
          const int64_t weight = ((int64_t{k} * shape.c + c) * window.rows + r) * window.columns + s;
          for (int n = 0; n < shape.n; ++n) {
            for (int i = 0; i < shape.h; ++i) {
              const int y = i + r - window.above;
              if (y < 0 || y >= shape.h) continue;
              for (int j = 0; j < shape.w; ++j) {
                const int x = j + s - window.left;
                if (x < 0 || x >= shape.w) continue;
                const int64_t from = ((int64_t{n} * shape.h + y) * shape.w + x) * shape.c + c;
                const int64_t to = ((int64_t{n} * shape.h + i) * shape.w + j) * shape.k + k;
                body(from, to, weight);
              }
            }
          }
        }
      }
    }
  }
}

// `bias` and `add` may be null.
inline Doubles forward(const MaskedConv2dShape& shape, const float* x, const float* weight, const float* bias,
                       const float* add, bool relu) {
  Doubles y(shape.y_count());
  for (int64_t i = 0; i < shape.y_count(); ++i)
    y[i] = (bias ? double{bias[i % shape.k]} : 0) + (add ? double{add[i]} : 0);
  for_each_product(shape, [&](int64_t from, int64_t to, int64_t w) { y[to] += double{x[from]} * weight[w]; });
  for (double& value : y) value = relu && value < 0 ? 0 : value;
  return y;
}

// `add` and `relu_output` may be null.
inline Doubles backward_input(const MaskedConv2dShape& shape, const float* grad_y, const float* weight,
                              const float* add, const float* relu_output) {
  Doubles grad_x(shape.x_count());
  for (int64_t i = 0; add && i < shape.x_count(); ++i) grad_x[i] = add[i];
  for_each_product(
      shape, [&](int64_t from, int64_t to, int64_t w) { grad_x[from] += double{grad_y[to]} * weight[w]; });
  for (int64_t i = 0; relu_output && i < shape.x_count(); ++i)
    grad_x[i] = relu_output[i] <= 0 ? 0 : grad_x[i];
  return grad_x;
}

inline Doubles backward_weight(const MaskedConv2dShape& shape, const float* x, const float* grad_y) {
  Doubles grad_weight(shape.weight_count());
  for_each_product(
      shape, [&](int64_t from, int64_t to, int64_t w) { grad_weight[w] += double{x[from]} * grad_y[to]; });
  return grad_weight;
}

inline Doubles backward_bias(const MaskedConv2dShape& shape, const float* grad_y) {
  Doubles grad_bias(shape.k);
  for (int64_t i = 0; i < shape.y_count(); ++i) grad_bias[i % shape.k] += grad_y[i];
  return grad_bias;
}

// The gate of (..., C, 2) values, and its gradient.
struct Gate {
  Doubles y, grad_x;
};

inline Gate gate(const float* x, const float* grad_y, int64_t count) {
  Gate result{Doubles(count), Doubles(2 * count)};
  for (int64_t i = 0; i < count; ++i) {
    const double a = x[2 * i], b = x[2 * i + 1], tanh = std::tanh(a), sigmoid = 1 / (1 + std::exp(-b));
    result.y[i] = tanh * sigmoid;
    // 1 - tanh^2 and 1 - sigmoid would cancel far from 0.
    result.grad_x[2 * i] = grad_y[i] * sigmoid / (std::cosh(a) * std::cosh(a));
    result.grad_x[2 * i + 1] = grad_y[i] * tanh * sigmoid / (1 + std::exp(b));
  }
  return result;
}

struct CrossEntropy {
  Doubles nats, grad_logits;
};

// Of logits (N, H, W, channels * levels).
inline CrossEntropy cross_entropy(const Doubles& logits, const uint8_t* level, int n, int64_t per_image,
                                  int levels) {
  CrossEntropy result{Doubles(n), Doubles(logits.size())};
  for (int64_t i = 0; i < n * per_image; ++i) {
    const double* row = logits.data() + i * levels;
    double most = row[0], sum = 0;
    for (int v = 1; v < levels; ++v) most = std::max(most, row[v]);
    for (int v = 0; v < levels; ++v) sum += std::exp(row[v] - most);
    const int target = std::min<int>(level[i], levels - 1);
    result.nats[i / per_image] += std::log(sum) + most - row[target];
    for (int v = 0; v < levels; ++v) {
      const double p = std::exp(row[v] - most) / sum;
      result.grad_logits[i * levels + v] = (p - (v == target)) / static_cast<double>(n * per_image);
    }
  }
  return result;
}

// cumsum(softmax(logits / temperature)).
inline Doubles cumulative(const float* logits, int levels, double temperature) {
  double most = logits[0], sum = 0;
  for (int v = 1; v < levels; ++v) most = std::max<double>(most, logits[v]);
  Doubles cdf(levels);
  for (int v = 0; v < levels; ++v) cdf[v] = sum += std::exp((logits[v] - most) / temperature);
  for (double& value : cdf) value /= sum;
  return cdf;
}

}  // namespace pixelcnn::reference
