// Helps the CPU kernel tests with thread pools, random weights with NaN under the mask, packing and
// padding.
#pragma once
#include <cmath>
#include <memory>

#include "kernels_harness.h"
#include "kernels_reference.h"

namespace pixelcnn::test {

inline constexpr double kTolerance = 1e-5;

// The precision is that of the table's activations. In bf16 all operands are rounded before they are
// compared with, so that only results are rounded.
class KernelsTest {
 public:
  KernelsTest(const Kernels& kernels, Precision precision, uint64_t seed)
      : kernels_(kernels), precision_(precision), random_(seed) {
    for (int threads = 1; threads <= 3; ++threads) pools_.push_back(std::make_unique<ThreadPool>(threads));
  }

  void convolution(MaskedConv2dShape shape);
  void containment(const MaskedConv2dShape& shape);
  void region(const MaskedConv2dShape& shape, Region::Pixels pixels);
  void head();
  void sampling();
  void accumulate();
  void gate();
  void condition();
  void sum_pixels();
  void embedding();
  void cast();
  void quantise();
  void small_ops();
  void planted();
  Report report;

 private:
  template <class Op>
  void run_op(const Op& op, int threads, const std::string& what) {
    report.check(run(kernels_, op, *pools_[threads - 1]), what + ": workspace overrun");
  }
  bool is_bf16() const { return precision_ == Precision::kBf16; }
  float rounded(double value) const {
    return is_bf16() ? round_to_bf16(static_cast<float>(value)) : static_cast<float>(value);
  }
  Activations activations(int64_t count) const { return {precision_, count}; }
  // Checks activations that were computed from exact operands.
  void check_activations(const Activations& result, reference::Doubles expected, bool exact, double scale,
                         const std::string& what, double& worst) {
    if (!is_bf16()) {
      report.check_error(relative_error(result.floats(), expected, scale), exact ? 0 : kTolerance, what,
                         worst);
    } else if (exact) {
      for (double& value : expected) value = rounded(value);
      report.check_error(relative_error(result.floats(), expected), 0, what, worst);
    } else {
      report.check_error(share_of_allowed(result, expected, allowed_error(expected, kTolerance, true)), 1,
                         what, report.worst_rounding);
    }
  }
  // Weights with NaN wherever the mask hides them.
  Buffer<float> random_weight(const FilterShape& shape, bool integers) {
    Buffer<float> weight(shape.weight_count());
    random_.fill(weight, integers, 0.2f);
    const Window& window = shape.window;
    for (int64_t i = 0; i < weight.count(); ++i) {
      const int s = i % window.columns, r = i / window.columns % window.rows;
      const int c = i / window.weights() % shape.c, k = static_cast<int>(i / window.weights() / shape.c);
      weight[i] = reference::live(shape, k, c, r, s) ? rounded(weight[i]) : NAN;
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
  Activations pad_image(const Activations& x, const Region& region, int n, int h, int w, int c) {
    Activations padded = activations(region.count(n, h, w) * c);
    std::memset(padded.at(0), 0, padded.count() * padded.element());
    copy_rows(x, region, n, h, w, c, padded);
    return padded;
  }
  static void copy_rows(const Activations& x, const Region& region, int n, int h, int w, int c,
                        Activations& padded) {
    for (int64_t row = 0; row < int64_t{n} * h; ++row) {
      std::memcpy(padded.at(padded_pixel(region, h, w, row / h, row % h, 0) * c), x.at(row * w * c),
                  x.element() * w * c);
    }
  }
  // Runs an op at every position of a random region, and checks that its y has the bits of whole images.
  // Calls body(bordered x, position, bordered y, region).
  template <class Body>
  void check_region(const Activations& x, int x_channels, const Activations& y, int y_channels, int n, int h,
                    int w, int groups, const std::string& name, const Body& body) {
    Region region = {random_.chance(0.5) ? Region::Pixels::kRow : Region::Pixels::kFront,
                     random_.integer(0, 3), random_.integer(1, w + 2)};
    Activations x_padded = pad_image(x, region, n, h, w, x_channels);
    Activations y_padded = activations(region.count(n, h, w) * y_channels);
    Activations wanted = y_padded;
    const bool by_group = random_.chance(0.5);
    for (int32_t t = -1; t < w + region.slope * (h - 1) + 1; ++t) {
      for (int group = 0; group < (by_group ? groups : 1); ++group) {
        region.group = by_group ? group : Region::kAllGroups;
        body(x_padded, &t, y_padded, region);
      }
    }
    copy_rows(y, region, n, h, w, y_channels, wanted);
    report.check(y_padded.same_bits(wanted) && y_padded.guards_intact(), "bits of the whole image: " + name);
  }
  // The value of a condition that is added to value i of (N, H, W, channels).
  static int64_t condition_index(bool per_pixel, int64_t i, int h, int w, int channels) {
    return per_pixel ? i : i / (int64_t{h} * w * channels) * channels + i % channels;
  }
  static int64_t padded_pixel(const Region& region, int h, int w, int64_t n, int64_t i, int64_t j) {
    return (n * (region.pad + h) + region.pad + i) * (w + 2 * region.pad) + region.pad + j;
  }

  const Kernels& kernels_;
  const Precision precision_;
  Random random_;
  std::vector<std::unique_ptr<ThreadPool>> pools_;
};

}  // namespace pixelcnn::test
