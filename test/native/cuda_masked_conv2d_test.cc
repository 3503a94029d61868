// Tests the CUDA kernels of masked convolution on random shapes, against float64 loops over the operands
// as the precision stores them. With integers every sum is exact, so results must be exact too.
//   cuda_masked_conv2d_test [shapes=200] [seed=1] [schedule=0]
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>

#include "../../cuda/masked_conv2d.h"
#include "cuda_fixture.h"
#include "kernels_reference.h"

namespace pixelcnn::test {
namespace {

using Floats = std::vector<float>;
using Bytes = std::vector<std::byte>;

// A sum in float64 and what its rounding is measured by.
struct Sums {
  std::vector<double> value, magnitude;  // the sum of products, and of their absolute values

  explicit Sums(int64_t count) : value(count), magnitude(count) {}
  void add(int64_t i, double product) {
    value[i] += product;
    magnitude[i] += std::fabs(product);
  }
};

class ConvolutionTest {
 public:
  ConvolutionTest(const MaskedConv2dShape& shape, Random& random, Report& report)
      : shape_(shape),
        precision_(shape.precision),
        random_(random),
        report_(report),
        integers_(random.chance(0.3)),
        name_(describe(shape) + " " + name_of(shape.precision) + (integers_ ? " integers" : "")),
        gpu_(test_gpu()) {}

  void run() {
    const Floats weight = random_weight();
    const Bytes packed = pack(weight);
    forward(weight, packed);
    backward_input(weight, packed);
    backward_weight(weight);
    region(packed, Region::Pixels::kFront);
    region(packed, Region::Pixels::kRow);
  }

 private:
  Floats random_values(int64_t count, float scale = 1) {
    Floats values(count);
    for (float& value : values) {
      value = integers_ ? static_cast<float>(random_.integer(-3, 3)) : random_.normal() * scale;
      value = stored(value, precision_);
    }
    return values;
  }
  // NaN wherever the mask hides a weight. Float32, as parameters are.
  Floats random_weight() {
    Floats weight(shape_.weight_count());
    const Window& window = shape_.window;
    for (int64_t i = 0; i < shape_.weight_count(); ++i) {
      const int s = i % window.columns, r = i / window.columns % window.rows,
                c = i / window.weights() % shape_.c;
      const int k = static_cast<int>(i / (int64_t{window.weights()} * shape_.c));
      const float value = integers_ ? static_cast<float>(random_.integer(-3, 3)) : random_.normal() * 0.2f;
      weight[i] = reference::live(shape_, k, c, r, s) ? value : NAN;
    }
    return weight;
  }
  // Of the values as they are multiplied.
  Floats multiplied(Floats values) const {
    for (float& value : values) value = rounded(value, precision_);
    return values;
  }
  Bytes pack(const Floats& weight) const {
    const DeviceBuffer<float> from(weight);
    const DeviceBuffer<std::byte> to(cuda::packed_bytes(shape_, Direction::kForward));
    run_on_device(MaskedConv2dPack{{{from, to, shape_, Direction::kForward}}, 1}, gpu_);
    return to.read();
  }

  // Rounding to the storage is half a unit in the last place; sums of n products are within n units of 2^-24
  // of the sum of absolute values at worst, and far closer in fact.
  void compare(const Floats& result, const std::vector<double>& expected,
               const std::vector<double>& magnitude, Precision storage, const char* what) {
    const double unit = storage == Precision::kBf16 ? 0x1p-8 : storage == Precision::kF16 ? 0x1p-11 : 0x1p-24;
    double worst = 0;
    int64_t at = 0;
    for (size_t i = 0; i < result.size(); ++i) {
      const double difference = std::fabs(result[i] - expected[i]);
      const double allowed = unit * std::fabs(expected[i]) + 1e-5 * magnitude[i] + 1e-7;
      double error = difference <= allowed ? difference / allowed : INFINITY;  // NaN is infinite
      if (integers_ && result[i] != stored(static_cast<float>(expected[i]), storage)) error = INFINITY;
      if (error > worst) worst = error, at = static_cast<int64_t>(i);
    }
    if (worst > 1) std::printf("  element %d: %.9g, not %.9g\n", int(at), result[at], expected[at]);
    report_.check(worst <= 1, what + (" " + name_));
  }

  // Our kernel in the given tile.
  template <class Kernel, class Op>
  static void run_in_tile(const Kernel& kernel, const Op& op, cuda::TileSize tile) {
    kernel(op, cuda::Launch{nullptr, nullptr, 1, nullptr}, tile);
    PIXELCNN_CUDA(cudaGetLastError());
    PIXELCNN_CUDA(cudaDeviceSynchronize());
  }

  // What a convolution adds to its sums, and what it does with them.
  struct Epilogue {
    Floats bias;  // none if it is empty
    Bytes add;    // none if it is empty
    int relu, float_y;
  };
  // `add_values` are the values of `add`.
  Epilogue random_epilogue(Floats& add_values, bool may_be_float) {
    const int relu = random_.integer(0, 1), float_y = may_be_float ? random_.integer(0, 1) : 0;
    add_values = random_values(random_.chance(0.5) ? shape_.y_count() : 0);
    return {.bias = random_values(random_.chance(0.7) ? shape_.k : 0),
            .add = to_storage(add_values, float_y ? Precision::kF32 : precision_),
            .relu = relu,
            .float_y = float_y};
  }
  // A tensor on the device; null if there are no bytes.
  template <class T>
  static std::unique_ptr<DeviceBuffer<T>> optional_tensor(const std::vector<T>& values) {
    return values.empty() ? nullptr : std::make_unique<DeviceBuffer<T>>(values);
  }
  template <class T>
  static T* or_null(const std::unique_ptr<DeviceBuffer<T>>& tensor) {
    return tensor ? static_cast<T*>(*tensor) : nullptr;
  }

  Bytes run_forward(const MaskedConv2dShape& shape, const Bytes& x, const Bytes& packed,
                    const Epilogue& epilogue, cuda::TileSize tile) const {
    const DeviceBuffer<std::byte> x_device(x), packed_device(packed);
    const auto bias = optional_tensor(epilogue.bias);
    const auto add = optional_tensor(epilogue.add);
    const int64_t element = epilogue.float_y ? 4 : element_bytes(precision_);
    const DeviceBuffer<std::byte> y(shape.y_count() * element);
    run_in_tile(cuda::forward,
                MaskedConv2d{.x = x_device,
                             .packed = packed_device,
                             .bias = or_null(bias),
                             .add = or_null(add),
                             .position = nullptr,
                             .y = y,
                             .shape = shape,
                             .region = {},
                             .relu = epilogue.relu,
                             .float_y = epilogue.float_y},
                tile);
    return y.read();
  }
  Bytes run_backward_input(const MaskedConv2dShape& shape, const Bytes& grad_y, const Bytes& packed,
                           const Bytes& add, const Bytes& relu_output, cuda::TileSize tile) const {
    const DeviceBuffer<std::byte> grad_device(grad_y), packed_device(packed),
        grad_x(shape.x_count() * element_bytes(precision_));
    const auto add_device = optional_tensor(add), relu_output_device = optional_tensor(relu_output);
    run_in_tile(cuda::backward_input,
                MaskedConv2dBackwardInput{grad_device, packed_device, or_null(add_device),
                                          or_null(relu_output_device), grad_x, shape},
                tile);
    return grad_x.read();
  }

  // The part of a batch's bytes that belongs to its last image.
  Bytes last_image(const Bytes& bytes) const {
    return Bytes(bytes.end() - static_cast<int64_t>(bytes.size()) / shape_.n, bytes.end());
  }
  MaskedConv2dShape alone() const {
    MaskedConv2dShape shape = shape_;
    shape.n = 1;
    return shape;
  }

  void forward(const Floats& weight, const Bytes& packed) {
    const Floats x = random_values(shape_.x_count());
    Floats add;
    const Epilogue epilogue = random_epilogue(add, true);
    const Bytes x_bytes = to_storage(x, precision_);
    const Bytes y = run_forward(shape_, x_bytes, packed, epilogue, kLarge);

    Sums sums(shape_.y_count());
    for (int64_t i = 0; i < shape_.y_count(); ++i) {
      if (!epilogue.bias.empty()) sums.add(i, epilogue.bias[i % shape_.k]);
      if (!add.empty()) sums.add(i, add[i]);
    }
    const Floats factors = multiplied(x), weights = multiplied(weight);
    reference::for_each_product(shape_, [&](int64_t from, int64_t to, int64_t w) {
      sums.add(to, double{factors[from]} * weights[w]);
    });
    for (double& value : sums.value) value = epilogue.relu && value < 0 ? 0 : value;
    const Precision storage = epilogue.float_y ? Precision::kF32 : precision_;
    compare(from_storage(y, storage), sums.value, sums.magnitude, storage, "forward");

    report_.check(same_bits(run_forward(shape_, x_bytes, packed, epilogue, kSmall), y),
                  "forward in small tiles " + name_);
    Epilogue of_last = epilogue;
    of_last.add = last_image(epilogue.add);
    report_.check(
        same_bits(run_forward(alone(), last_image(x_bytes), packed, of_last, kSmall), last_image(y)),
        "forward of one image alone " + name_);

    // One value changes: every output that may not see it keeps its bits.
    const int64_t changed = random_.integer(0, static_cast<int>(shape_.x_count()) - 1);
    Floats other = x;
    other[changed] = stored(other[changed] + 1000, precision_);
    const Bytes y_other = run_forward(shape_, to_storage(other, precision_), packed, epilogue, kLarge);
    std::vector<char> sees(shape_.y_count());
    reference::for_each_product(shape_,
                                [&](int64_t from, int64_t to, int64_t) { sees[to] |= from == changed; });
    report_.check(same_where_not(sees, y, y_other), "forward is causal " + name_);
  }

  void backward_input(const Floats& weight, const Bytes& packed) {
    const Floats grad_y = random_values(shape_.y_count());
    const Floats add = random_values(random_.chance(0.5) ? shape_.x_count() : 0);
    Floats relu_output = random_values(random_.chance(0.5) ? shape_.x_count() : 0);
    if (!relu_output.empty()) relu_output[0] = NAN;  // NaN is not <= 0, so the gradient passes
    const Bytes grad_bytes = to_storage(grad_y, precision_), add_bytes = to_storage(add, precision_),
                relu_output_bytes = to_storage(relu_output, precision_);
    const Bytes grad_x = run_backward_input(shape_, grad_bytes, packed, add_bytes, relu_output_bytes, kLarge);

    Sums sums(shape_.x_count());
    const Floats factors = multiplied(grad_y), weights = multiplied(weight);
    reference::for_each_product(shape_, [&](int64_t from, int64_t to, int64_t w) {
      sums.add(from, double{factors[to]} * weights[w]);
    });
    for (size_t i = 0; i < add.size(); ++i) sums.add(static_cast<int64_t>(i), add[i]);
    for (size_t i = 0; i < relu_output.size(); ++i) sums.value[i] = relu_output[i] <= 0 ? 0 : sums.value[i];
    compare(from_storage(grad_x, precision_), sums.value, sums.magnitude, precision_, "input gradient");

    report_.check(
        same_bits(run_backward_input(shape_, grad_bytes, packed, add_bytes, relu_output_bytes, kSmall),
                  grad_x),
        "input gradient in small tiles " + name_);
    report_.check(same_bits(run_backward_input(alone(), last_image(grad_bytes), packed, last_image(add_bytes),
                                               last_image(relu_output_bytes), kSmall),
                            last_image(grad_x)),
                  "input gradient of one image alone " + name_);

    const int64_t changed = random_.integer(0, static_cast<int>(shape_.y_count()) - 1);
    Floats other = grad_y;
    other[changed] = stored(other[changed] + 1000, precision_);
    const Bytes grad_x_other = run_backward_input(shape_, to_storage(other, precision_), packed, add_bytes,
                                                  relu_output_bytes, kLarge);
    std::vector<char> sees(shape_.x_count());
    reference::for_each_product(shape_,
                                [&](int64_t from, int64_t to, int64_t) { sees[from] |= to == changed; });
    report_.check(same_where_not(sees, grad_x, grad_x_other), "input gradient is causal " + name_);
  }

  void backward_weight(const Floats& weight) {
    const Floats x = random_values(shape_.x_count()), grad_y = random_values(shape_.y_count());
    const DeviceBuffer<std::byte> x_device(to_storage(x, precision_)),
        grad_device(to_storage(grad_y, precision_));
    const auto run = [&](const cuda::Gpu& gpu) {
      const DeviceBuffer<float> grad_weight(shape_.weight_count()), grad_bias(shape_.k);
      run_on_device(MaskedConv2dBackwardWeight{x_device, grad_device, grad_weight, grad_bias, shape_}, gpu);
      return std::pair(grad_weight.read(), grad_bias.read());
    };
    const auto [grad_weight, grad_bias] = run(gpu_);

    const double scale = 1 / double{gradient_scale(precision_, int64_t{shape_.n} * shape_.h * shape_.w)};
    Sums weight_sums(shape_.weight_count()), bias_sums(shape_.k);
    const Floats factors = multiplied(x), gradients = multiplied(grad_y);
    reference::for_each_product(shape_, [&](int64_t from, int64_t to, int64_t w) {
      weight_sums.add(w, scale * factors[from] * gradients[to]);
    });
    for (int64_t i = 0; i < shape_.y_count(); ++i) bias_sums.add(i % shape_.k, scale * grad_y[i]);
    compare(grad_weight, weight_sums.value, weight_sums.magnitude, Precision::kF32, "weight gradient");
    compare(grad_bias, bias_sums.value, bias_sums.magnitude, Precision::kF32, "bias gradient");
    bool zero = true;
    for (size_t i = 0; i < weight.size(); ++i) zero &= weight[i] == weight[i] || grad_weight[i] == 0;
    report_.check(zero, "masked gradients are 0 " + name_);

    // Without the gradient of the bias nothing else changes.
    const DeviceBuffer<float> alone(shape_.weight_count());
    run_on_device(MaskedConv2dBackwardWeight{x_device, grad_device, alone, nullptr, shape_}, gpu_);
    report_.check(same_bits(alone.read(), grad_weight), "weight gradient without bias " + name_);

    // Again, and on a GPU of another size.
    cuda::Gpu other = gpu_;
    other.multiprocessors = 500;
    for (const cuda::Gpu& gpu : {gpu_, other}) {
      const auto [weight_again, bias_again] = run(gpu);
      report_.check(same_bits(weight_again, grad_weight) && same_bits(bias_again, grad_bias),
                    "weight gradient again " + name_);
    }
  }

  // At every position a region writes its pixels with the bits of `forward`, and nothing else. Images are
  // cut to keep the number of positions down.
  void region(const Bytes& packed, Region::Pixels which) {
    MaskedConv2dShape shape = shape_;
    shape.h = std::min(shape.h, 4), shape.w = std::min(shape.w, 6);
    const Window& window = shape.window;
    const int least = std::max({window.above, window.left, window.right()});
    const int pad = random_.integer(least, std::min(15, least + 1)),
              slope = random_.integer(window.right() + 1, std::max(window.right() + 1, pad + 2));
    const std::string name = (which == Region::Pixels::kRow ? "row " : "front ") + name_;
    const int64_t element = element_bytes(precision_);
    Floats add;
    Epilogue epilogue = random_epilogue(add, false);
    epilogue.add.resize(epilogue.add.empty() ? 0 : shape.y_count() * element);
    const Bytes x = to_storage(random_values(shape.x_count()), precision_);
    const Bytes y = run_forward(shape, x, packed, epilogue, kLarge);
    const cuda::TileSize tile = random_.chance(0.5) ? kLarge : kSmall;

    const Region whole = {.pixels = which, .pad = pad, .slope = slope};
    Bytes expected(whole.count(shape.n, shape.h, shape.w) * shape.k * element);
    const DeviceBuffer<std::byte> x_device(pad_image(x, shape, shape.c * element, pad)),
        packed_device(packed), y_device(expected);
    const auto bias_device = optional_tensor(epilogue.bias);
    const auto add_device = optional_tensor(
        epilogue.add.empty() ? Bytes{} : pad_image(epilogue.add, shape, shape.k * element, pad));
    const auto run_region = [&](int32_t from, int32_t ahead, int32_t only = Region::kAllGroups) {
      const DeviceBuffer<int32_t> from_device(std::vector<int32_t>{from});
      MaskedConv2d op = {.x = x_device,
                         .packed = packed_device,
                         .bias = or_null(bias_device),
                         .add = or_null(add_device),
                         .position = from_device,
                         .y = y_device,
                         .shape = shape,
                         .region = whole,
                         .relu = epilogue.relu};
      op.region.ahead = ahead;
      if (only >= 0 || random_.chance(0.3)) {
        op.region.group = only;
        return run_in_tile(cuda::forward, op, tile);
      }
      for (op.region.group = 0; op.region.group < shape.channel_groups; ++op.region.group)
        run_in_tile(cuda::forward, op, tile);
    };
    // The last position that has pixels. A row has one position.
    const int last = slope * (shape.h - 1) + (which == Region::Pixels::kRow ? 0 : shape.w - 1),
              most = Region::kMostFronts - 1;
    const int any = random_.integer(1, most);
    for (int32_t t : {-1, -slope, last + 1, last + slope, INT32_MIN, INT32_MAX}) run_region(t, 0);
    // A sum beyond int32 has no pixels either.
    for (int32_t from : {INT32_MIN, INT32_MAX - any + 1, INT32_MAX})
      run_region(from, any), run_region(from, most);
    run_region(-any - 1, any), run_region(last + 1, any), run_region(last + 1 - any, any);
    for (int32_t t = 0; t < last && which == Region::Pixels::kRow; ++t) {
      if (t % slope != 0) run_region(t, 0);
    }
    report_.check(same_bits(y_device.read(), expected), "positions without pixels " + name);
    if (shape.channel_groups > 1) {
      const int group = random_.integer(0, shape.channel_groups - 1);
      Bytes of_group(y.size());
      for (int64_t i = 0; i < shape.y_count(); ++i) {
        if (reference::output_group(shape, static_cast<int>(i % shape.k)) == group)
          std::copy_n(y.begin() + i * element, element, of_group.begin() + i * element);
      }
      for (int32_t t = 0; t <= last; ++t) run_region(t, 0, group);
      report_.check(same_bits(y_device.read(), pad_image(of_group, shape, shape.k * element, pad)),
                    "forward's bits of one group in a " + name);
    }
    for (int32_t t = 0; t <= last; ++t) {
      const int ahead = random_.chance(0.3) ? 0 : random_.chance(0.3) ? most : random_.integer(0, last + 1);
      run_region(t - ahead, ahead);
    }
    report_.check(same_bits(y_device.read(), pad_image(y, shape, shape.k * element, pad)),
                  "forward's bits in a " + name);
  }
  static Bytes pad_image(const Bytes& image, const MaskedConv2dShape& shape, int64_t pixel_bytes, int pad) {
    return test::pad_image(image, shape.n, shape.h, shape.w, pixel_bytes, pad);
  }

  static bool same_where_not(const std::vector<char>& changed, const Bytes& a, const Bytes& b) {
    const size_t element = a.size() / changed.size();
    for (size_t i = 0; i < changed.size(); ++i) {
      if (!changed[i] && std::memcmp(a.data() + i * element, b.data() + i * element, element) != 0)
        return false;
    }
    return true;
  }

  static constexpr cuda::TileSize kLarge = cuda::TileSize::kLarge, kSmall = cuda::TileSize::kSmall;

  MaskedConv2dShape shape_;
  Precision precision_;
  Random& random_;
  Report& report_;
  bool integers_;
  std::string name_;
  cuda::Gpu gpu_;
};

MaskedConv2dShape random_shape(Random& random, Precision precision) {
  for (;;) {
    const bool vectors = random.chance(0.5);  // channels that can be copied 16 bytes at a time
    const auto channels = [&] {
      const int any[] = {1, 2, 3, 5, 8, 16, 33, 40, 64, 70}, aligned[] = {8, 16, 24, 32, 40, 48, 64, 72};
      return vectors ? aligned[random.integer(0, 7)] : any[random.integer(0, 9)];
    };
    const int pairs = random.chance(0.3);
    const int c = channels(), k = channels() * (pairs ? 2 : 1);
    const Window window = random_window(random);
    const int groups = random.chance(0.5) ? 1 : random.chance(0.6) ? 3 : random.integer(1, 9);
    const int n = random.integer(1, 3), h = random.integer(1, 12), w = random.integer(1, 12);
    const MaskedConv2dShape shape = {{c, k, window, groups, Algorithm::kDirect, precision, pairs}, n, h, w};
    const double products = double(shape.y_count()) * c * window.columns * (window.above + 1);
    if (groups <= c && groups <= (pairs ? k / 2 : k) && products < 2e5) return shape;
  }
}

int run_tests(int shapes, uint64_t seed) {
  Random random(seed);
  Report report;
  for (int i = 0; i < shapes; ++i) {
    const MaskedConv2dShape shape = random_shape(random, static_cast<Precision>(i % 4));
    try {
      ConvolutionTest(shape, random, report).run();
    } catch (const std::exception& error) {
      report.check(false, describe(shape) + ": " + error.what());
      return 1;  // the device is lost
    }
  }
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // a test that is killed has said what came before
#ifdef PIXELCNN_CUDA_EMULATOR
  emulator::options.seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
#endif
  return pixelcnn::test::run_tests(argc > 1 ? std::atoi(argv[1]) : 200,
                                   argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
