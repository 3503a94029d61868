// Helps the CPU kernel tests with thread pools, random weights with NaN under the mask, packing and
// padding.
#pragma once
#include <cmath>
#include <memory>

#include "kernels_harness.h"
#include "kernels_reference.h"

namespace pixelcnn::test {

inline constexpr double kTolerance = 1e-5;

class KernelsTest {
 public:
  KernelsTest(const Kernels& kernels, uint64_t seed) : kernels_(kernels), random_(seed) {
    for (int threads = 1; threads <= 3; ++threads) pools_.push_back(std::make_unique<ThreadPool>(threads));
  }

  void convolution(MaskedConv2dShape shape);
  void containment(const MaskedConv2dShape& shape);
  void region(const MaskedConv2dShape& shape, Region::Pixels pixels);
  void head();
  void sampling();
  void accumulate();
  void gate();
  void small_ops();
  Report report;

 private:
  template <class Op>
  void run_op(const Op& op, int threads, const std::string& what) {
    report.check(run(kernels_, op, *pools_[threads - 1]), what + ": workspace overrun");
  }
  // Weights with NaN wherever the mask hides them.
  Buffer<float> random_weight(const FilterShape& shape, bool integers) {
    Buffer<float> weight(shape.weight_count());
    random_.fill(weight, integers, 0.2f);
    const Window& window = shape.window;
    for (int64_t i = 0; i < weight.count(); ++i) {
      const int s = i % window.columns, r = i / window.columns % window.rows;
      const int c = i / window.weights() % shape.c, k = static_cast<int>(i / window.weights() / shape.c);
      if (!reference::live(shape, k, c, r, s)) weight[i] = NAN;
    }
    return weight;
  }
  Buffer<std::byte> pack(const FilterShape& shape, Direction direction, const Buffer<float>& weight,
                         int threads = 1) {
    Buffer<std::byte> packed(kernels_.packed_bytes(shape, direction));
    run_op(MaskedConv2dPack{{{weight.data(), packed.data(), shape, direction}}, 1}, threads,
           "pack " + describe(shape));
    report.check(packed.guards_intact(), "pack guards " + describe(shape));
    return packed;
  }
  Buffer<float> pad_image(const Buffer<float>& x, const Region& region, int n, int h, int w, int c) {
    Buffer<float> padded(region.count(n, h, w) * c);
    std::memset(padded.data(), 0, padded.count() * sizeof(float));
    for (int64_t row = 0; row < int64_t{n} * h; ++row) {
      std::memcpy(padded + padded_pixel(region, h, w, row / h, row % h, 0) * c, x.data() + row * w * c,
                  sizeof(float) * w * c);
    }
    return padded;
  }
  static int64_t padded_pixel(const Region& region, int h, int w, int64_t n, int64_t i, int64_t j) {
    return (n * (region.pad + h) + region.pad + i) * (w + 2 * region.pad) + region.pad + j;
  }

  const Kernels& kernels_;
  Random random_;
  std::vector<std::unique_ptr<ThreadPool>> pools_;
};

}  // namespace pixelcnn::test
