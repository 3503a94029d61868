// Compares the CPU kernels with naive loops on random shapes.
//   kernels_test [shapes=200] [seed=1] [isa]
//   kernels_test bench [isa]
// An instruction set with the suffix _bf16 names the table of bf16.
#include <cstdlib>

#include "kernels_bench.h"
#include "kernels_fixture.h"

namespace pixelcnn::test {
namespace {

// Most windows are masked squares, or those of a gated network: the upper half of a square and the row so
// far. The others have any reach in three directions and masked rows below the pixel.
Window random_window(Random& random) {
  if (random.chance(0.25)) {
    const int above = random.integer(1, 4);
    return {above + 1, 2 * above + 1, above, above, random.chance(0.8) ? OwnRow::kAll : OwnRow::kNone};
  }
  if (random.chance(0.1)) {
    const int left = random.integer(1, 3);
    return {1, left + 1, 0, left, random.chance(0.5) ? OwnRow::kLeft : OwnRow::kCentre};
  }
  if (random.chance(0.5)) {
    const int size = random.chance(0.1) ? 2 * random.integer(4, 15) + 1 : 2 * random.integer(0, 3) + 1;
    return masked_square(size, random.chance(0.5) ? OwnRow::kLeft : OwnRow::kCentre);
  }
  for (;;) {
    const int most = random.chance(0.1) ? 15 : random.integer(0, 4);
    const int above = random.integer(0, most), left = random.integer(0, most),
              right = random.integer(0, most);
    const int below = random.chance(0.5) ? 0 : random.integer(0, 3);
    const auto own_row = static_cast<OwnRow>(random.integer(0, 3));
    const Window window = {above + 1 + below, left + 1 + right, above, left, own_row};
    if (window.taps() > 0) return window;
  }
}

MaskedConv2dShape random_shape(Random& random, Precision precision) {
  for (;;) {
    const auto channels = [&] {
      const int odd_ones[] = {1, 2, 3, 5, 7, 13, 16, 31, 32, 33, 48, 64, 65, 70, 127, 256};
      return random.chance(0.5) ? odd_ones[random.integer(0, 15)] : random.integer(1, 40);
    };
    const auto side = [&] { return random.chance(0.1) ? random.integer(20, 40) : random.integer(1, 18); };
    const Window window = random_window(random);
    const int c = channels(), k = channels();
    const int groups = random.chance(0.5) ? 1 : random.chance(0.7) ? 3 : random.integer(1, std::min(256, k));
    const int n = random.integer(1, 4), h = side(), w = side();
    MaskedConv2dShape shape = {{c, k, window, groups, Algorithm::kDirect, precision}, n, h, w};
    shape.pairs = k % 2 == 0 && groups <= k / 2 && random.chance(0.3);
    const double products = double(shape.y_count()) * c * window.taps();
    if (products < 6e6) return shape;
  }
}

int run_tests(const Kernels& kernels, Precision precision, int shapes, uint64_t seed) {
  KernelsTest test(kernels, precision, seed);
  Random random(seed);
  for (int i = 0; i < shapes; ++i) {
    const MaskedConv2dShape shape = random_shape(random, precision);
    test.convolution(shape);
    test.containment(shape);
    // With many images, fronts of one pixel run across them, and threads share them out.
    MaskedConv2dShape many = shape;
    if (random.chance(0.3) && double(shape.y_count()) * shape.c * shape.window.taps() < 5e5)
      many.n = random.integer(8, 40);
    test.region(many, i % 2 == 0 ? Region::Pixels::kFront : Region::Pixels::kRow);
    test.head();
    test.sampling();
    test.accumulate();
    test.gate();
    test.condition();
    test.sum_pixels();
    test.embedding();
    test.cast();
    test.quantise();
  }
  test.small_ops();
  test.planted();
  const Report& report = test.report;
  std::printf(
      "%s: worst relative error direct %.2g, winograd %.2g, head %.2g; of activations in bf16 %.2g of "
      "the allowed one\n",
      kernels.isa, report.worst_direct, report.worst_winograd, report.worst_head, report.worst_rounding);
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  const bool bench = argc > 1 && std::strcmp(argv[1], "bench") == 0;
  const int isa_at = bench ? 2 : 3;
  const std::string isa = argc > isa_at ? argv[isa_at] : "";
  const bool bf16 = isa.ends_with("_bf16");
  const std::string family = bf16 ? isa.substr(0, isa.size() - 5) : isa;
  const pixelcnn::cpu::Kernels* kernels = pixelcnn::cpu::kernels(family.empty() ? nullptr : family.c_str());
  if (kernels && bf16) kernels = pixelcnn::cpu::bf16_kernels(*kernels);
  if (!kernels) {
    std::printf("this build or processor has no such instruction set\n");
    return 2;
  }
  const auto precision = bf16 ? pixelcnn::Precision::kBf16 : pixelcnn::Precision::kF32;
  if (bench) return pixelcnn::test::run_bench(*kernels, precision);
  return pixelcnn::test::run_tests(*kernels, precision, argc > 1 ? std::atoi(argv[1]) : 200,
                                   argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
