// Tests the CUDA kernels of masked convolution on random shapes, against float64 loops over the operands
// as the precision stores them. With integers every sum is exact, so results must be exact too.
//   cuda_masked_conv2d_test [shapes=200] [seed=1] [schedule=0]
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>

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
    front(packed);
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
    const int size = shape_.kernel_size;
    for (int64_t i = 0; i < shape_.weight_count(); ++i) {
      const int s = i % size, r = i / size % size, c = i / (size * size) % shape_.c;
      const int k = static_cast<int>(i / (int64_t{size} * size * shape_.c));
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

  Bytes run_forward(const MaskedConv2dShape& shape, const Bytes& x, const Bytes& packed, const Floats& bias,
                    int relu, int float_y, cuda::TileSize tile) const {
    const DeviceBuffer<std::byte> x_device(x), packed_device(packed);
    const DeviceBuffer<float> bias_device(bias);
    const int64_t element = float_y ? 4 : element_bytes(precision_);
    const DeviceBuffer<std::byte> y(shape.y_count() * element);
    run_in_tile(cuda::forward,
                MaskedConv2dForward{x_device, packed_device, bias_device, y, shape, relu, float_y}, tile);
    return y.read();
  }
  Bytes run_backward_input(const MaskedConv2dShape& shape, const Bytes& grad_y, const Bytes& packed,
                           const Bytes& relu_output, cuda::TileSize tile) const {
    const DeviceBuffer<std::byte> grad_device(grad_y), packed_device(packed),
        grad_x(shape.x_count() * element_bytes(precision_));
    std::optional<DeviceBuffer<std::byte>> relu_output_device;
    if (!relu_output.empty()) relu_output_device.emplace(relu_output);
    const std::byte* relu_output_or_null =
        relu_output_device ? static_cast<std::byte*>(*relu_output_device) : nullptr;
    run_in_tile(cuda::backward_input,
                MaskedConv2dBackwardInput{grad_device, packed_device, relu_output_or_null, grad_x, shape},
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
    const Floats x = random_values(shape_.x_count()), bias = random_values(shape_.k);
    const int relu = random_.integer(0, 1), float_y = random_.integer(0, 1);
    const Bytes x_bytes = to_storage(x, precision_);
    const Bytes y = run_forward(shape_, x_bytes, packed, bias, relu, float_y, kLarge);

    Sums sums(shape_.y_count());
    for (int64_t i = 0; i < shape_.y_count(); ++i) sums.add(i, bias[i % shape_.k]);
    const Floats factors = multiplied(x), weights = multiplied(weight);
    reference::for_each_product(shape_, [&](int64_t from, int64_t to, int64_t w) {
      sums.add(to, double{factors[from]} * weights[w]);
    });
    for (double& value : sums.value) value = relu && value < 0 ? 0 : value;
    const Precision storage = float_y ? Precision::kF32 : precision_;
    compare(from_storage(y, storage), sums.value, sums.magnitude, storage, "forward");

    const auto again = [&](const Bytes& input, const MaskedConv2dShape& shape, cuda::TileSize tile) {
      return run_forward(shape, input, packed, bias, relu, float_y, tile);
    };
    report_.check(same_bits(again(x_bytes, shape_, kSmall), y), "forward in small tiles " + name_);
    report_.check(same_bits(again(last_image(x_bytes), alone(), kSmall), last_image(y)),
                  "forward of one image alone " + name_);

    // One value changes: every output that may not see it keeps its bits.
    const int64_t changed = random_.integer(0, static_cast<int>(shape_.x_count()) - 1);
    Floats other = x;
    other[changed] = stored(other[changed] + 1000, precision_);
    const Bytes y_other = again(to_storage(other, precision_), shape_, kLarge);
    std::vector<char> sees(shape_.y_count());
    reference::for_each_product(shape_,
                                [&](int64_t from, int64_t to, int64_t) { sees[to] |= from == changed; });
    report_.check(same_where_not(sees, y, y_other), "forward is causal " + name_);
  }

  void backward_input(const Floats& weight, const Bytes& packed) {
    const Floats grad_y = random_values(shape_.y_count());
    Floats relu_output = random_values(random_.chance(0.5) ? shape_.x_count() : 0);
    if (!relu_output.empty()) relu_output[0] = NAN;  // NaN is not <= 0, so the gradient passes
    const Bytes grad_bytes = to_storage(grad_y, precision_),
                relu_output_bytes = to_storage(relu_output, precision_);
    const Bytes grad_x = run_backward_input(shape_, grad_bytes, packed, relu_output_bytes, kLarge);

    Sums sums(shape_.x_count());
    const Floats factors = multiplied(grad_y), weights = multiplied(weight);
    reference::for_each_product(shape_, [&](int64_t from, int64_t to, int64_t w) {
      sums.add(from, double{factors[to]} * weights[w]);
    });
    for (size_t i = 0; i < relu_output.size(); ++i) sums.value[i] = relu_output[i] <= 0 ? 0 : sums.value[i];
    compare(from_storage(grad_x, precision_), sums.value, sums.magnitude, precision_, "input gradient");

    report_.check(
        same_bits(run_backward_input(shape_, grad_bytes, packed, relu_output_bytes, kSmall), grad_x),
        "input gradient in small tiles " + name_);
    report_.check(same_bits(run_backward_input(alone(), last_image(grad_bytes), packed,
                                               last_image(relu_output_bytes), kSmall),
                            last_image(grad_x)),
                  "input gradient of one image alone " + name_);

    const int64_t changed = random_.integer(0, static_cast<int>(shape_.y_count()) - 1);
    Floats other = grad_y;
    other[changed] = stored(other[changed] + 1000, precision_);
    const Bytes grad_x_other =
        run_backward_input(shape_, to_storage(other, precision_), packed, relu_output_bytes, kLarge);
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

    // Again, and on a GPU of another size.
    cuda::Gpu other = gpu_;
    other.multiprocessors = 500;
    for (const cuda::Gpu& gpu : {gpu_, other}) {
      const auto [weight_again, bias_again] = run(gpu);
      report_.check(same_bits(weight_again, grad_weight) && same_bits(bias_again, grad_bias),
                    "weight gradient again " + name_);
    }
  }

  // At every position the front writes its pixels with the bits of `forward`, and nothing else. Images are
  // cut to keep the number of positions down.
  void front(const Bytes& packed) {
    MaskedConv2dShape shape = shape_;
    shape.h = std::min(shape.h, 4), shape.w = std::min(shape.w, 6);
    const int least = shape.kernel_size / 2, pad = random_.integer(least, std::min(15, least + 1));
    const FrontShape front = {pad, random_.integer(pad + 1, std::min(16, pad + 2))};
    const Floats bias = random_values(shape.k);
    const Bytes x = to_storage(random_values(shape.x_count()), precision_);
    const Bytes y = run_forward(shape, x, packed, bias, 1, 0, kLarge);
    const cuda::TileSize tile = random_.chance(0.5) ? kLarge : kSmall;
    const int64_t pixels = front.pixels(shape.n, shape.h, shape.w), element = element_bytes(precision_);

    Bytes expected(pixels * shape.k * element);
    const DeviceBuffer<std::byte> x_device(pad_image(x, shape, shape.c * element, front)),
        packed_device(packed), y_device(expected);
    const DeviceBuffer<float> bias_device(bias);
    const auto run_front = [&](int32_t from, int32_t ahead) {
      const DeviceBuffer<int32_t> from_device(std::vector<int32_t>{from});
      for (int group = 0; group < shape.channel_groups; ++group) {
        run_in_tile(cuda::front,
                    MaskedConv2dFront{x_device, packed_device, bias_device, from_device, y_device, shape,
                                      front, group, ahead},
                    tile);
      }
    };
    const int last = shape.w - 1 + front.slope * (shape.h - 1), most = FrontShape::kMostFronts - 1;
    const int any = random_.integer(1, most);
    for (int32_t t : {-1, last + 1, INT32_MIN, INT32_MAX}) run_front(t, 0);
    // A sum beyond int32 is not a front either.
    for (int32_t from : {INT32_MIN, INT32_MAX - any + 1, INT32_MAX})
      run_front(from, any), run_front(from, most);
    run_front(-any - 1, any), run_front(last + 1, any), run_front(last + 1 - any, any);
    report_.check(same_bits(y_device.read(), expected), "positions off the image have no pixels " + name_);
    for (int32_t t = 0; t <= last; ++t) {
      const int ahead = random_.chance(0.3) ? 0 : random_.chance(0.3) ? most : random_.integer(0, last + 1);
      run_front(t - ahead, ahead);
    }
    report_.check(same_bits(y_device.read(), pad_image(y, shape, shape.k * element, front)),
                  "front has forward's bits " + name_);
  }
  static Bytes pad_image(const Bytes& image, const MaskedConv2dShape& shape, int64_t pixel_bytes,
                         const FrontShape& front) {
    const int64_t row_bytes = shape.w * pixel_bytes, pitch = (shape.w + 2 * front.pad) * pixel_bytes;
    Bytes padded(shape.n * (front.pad + shape.h) * pitch);
    for (int64_t row = 0; row < int64_t{shape.n} * shape.h; ++row) {
      const int64_t to = (row / shape.h * (front.pad + shape.h) + front.pad + row % shape.h) * pitch;
      std::memcpy(padded.data() + to + front.pad * pixel_bytes, image.data() + row * row_bytes, row_bytes);
    }
    return padded;
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
    const int c = channels(), k = channels(), kernel = 2 * random.integer(0, 4) + 1;
    const int groups = random.chance(0.5) ? 1 : random.chance(0.6) ? 3 : random.integer(1, 9);
    const int n = random.integer(1, 3), h = random.integer(1, 12), w = random.integer(1, 12);
    const MaskType mask = random.chance(0.5) ? MaskType::kA : MaskType::kB;
    const MaskedConv2dShape shape = {{c, k, kernel, mask, groups, Algorithm::kDirect, precision}, n, h, w};
    const double products = double(shape.y_count()) * c * kernel * (kernel / 2 + 1);
    if (groups <= c && groups <= k && products < 2e5) return shape;
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
