// Declares the tests of cuda_ops_test: one function per op, which tests one random shape.
#pragma once
#include <functional>

#include "cuda_fixture.h"

namespace pixelcnn::test {

// Activations of some images.
struct ImageCase {
  int n, h, w, c;
  Precision precision;

  ImageCase(Random& random, int most_channels)
      : n(random.integer(1, 3)),
        h(random.integer(1, 4)),
        w(random.integer(1, 6)),
        c(random.chance(0.4) ? 8 * random.integer(1, most_channels / 8) : random.integer(1, most_channels)),
        precision(static_cast<Precision>(random.integer(0, 3))) {}
  int64_t count() const { return int64_t{n} * h * w * c; }
  std::string name(const char* op) const {
    return std::string(op) + " n=" + std::to_string(n) + " h=" + std::to_string(h) +
           " w=" + std::to_string(w) + " c=" + std::to_string(c) + " " + name_of(precision);
  }
  // Which element of a condition with these channels belongs to an element of the activations.
  int64_t of_condition(int64_t element, bool per_pixel, int64_t channels) const {
    return per_pixel ? element : element / (h * w * channels) * channels + element % channels;
  }
};

// All NaN are alike.
inline std::vector<float> without_nan(std::vector<float> values) {
  for (float& value : values) value = value == value ? value : NAN;
  return values;
}

class CudaOpsTest {
 public:
  explicit CudaOpsTest(uint64_t seed) : random_(seed) {}

  void quantise();
  void binarise();
  void random_uniform();
  void zero_and_next_front();
  void accumulate();
  void embedding();
  void embedding_gradient();
  void cast();
  void condition();
  void sum_pixels();
  void gate();
  void gate_gradient();
  void gradient_norm();
  void adam();
  void likelihood();
  void training();
  void sample();

  void print_sampling() const;
  Report report;

 private:
  Precision random_precision() { return static_cast<Precision>(random_.integer(0, 3)); }
  std::vector<float> normals(int64_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = random_.normal() * scale;
    return values;
  }
  // Runs an op in the sampler's regions and checks that its outputs are those of whole images, `y`, first for
  // one group alone and then for all. x has x_channels. run(region, position, x, y) runs the op on tensors
  // with the region's border.
  using RunRegion = std::function<void(const Region&, const int32_t*, const std::byte*, std::byte*)>;
  void check_regions(const std::string& name, const ImageCase& images, int groups,
                     const std::vector<std::byte>& x, int x_channels, const std::vector<std::byte>& y,
                     const RunRegion& run);
  // Values for the halves of gates in the storage of a precision, with NaN and infinities unless `finite`.
  std::vector<float> gate_halves(int64_t count, Precision precision, bool finite);
  std::vector<uint8_t> random_bytes(int64_t count, int most = 255) {
    std::vector<uint8_t> values(count);
    for (uint8_t& value : values) value = static_cast<uint8_t>(random_.integer(0, most));
    return values;
  }

  Random random_;
  const cuda::Gpu gpu_ = test_gpu();
  int64_t draws_ = 0, different_draws_ = 0;  // among those whose logits differ from the CPU's by rounding
};

// A head's shape and operands, rounded to the precision as its product sees them.
struct HeadCase {
  int n, h, w, c, channels, levels;
  Precision precision;
  std::vector<float> x, weight, bias;
  std::vector<uint8_t> level;

  HeadCase(Random& random, int most_side, bool integers);
  MaskedConv2dShape shape() const { return head().convolution(); }
  MaskedConv2dShape cpu_shape() const { return cpu_head().convolution(); }
  HeadShape head() const { return {n, h, w, c, channels, levels, precision}; }
  HeadShape cpu_head() const { return {n, h, w, c, channels, levels}; }
  std::string name(const char* op) const;
};

// The packed weights of a head on the device.
std::vector<std::byte> pack_on_device(const HeadCase& head, Direction direction, const cuda::Gpu& gpu);

}  // namespace pixelcnn::test
