// Compares the CPU kernels with naive loops on random shapes.
//   kernels_test [shapes=200] [seed=1] [isa]
//   kernels_test bench [isa]
#include <cstdlib>

#include "kernels_bench.h"
#include "kernels_fixture.h"

namespace pixelcnn::test {
namespace {

MaskedConv2dShape random_shape(Random& random) {
  for (;;) {
    const auto channels = [&] {
      const int odd_ones[] = {1, 2, 3, 5, 7, 13, 16, 31, 32, 33, 48, 64, 65, 70, 127, 256};
      return random.chance(0.5) ? odd_ones[random.integer(0, 15)] : random.integer(1, 40);
    };
    const auto side = [&] { return random.chance(0.1) ? random.integer(20, 40) : random.integer(1, 18); };
    const int kernel = random.chance(0.1) ? 2 * random.integer(4, 15) + 1 : 2 * random.integer(0, 3) + 1;
    const int c = channels(), k = channels();
    const int groups = random.chance(0.5) ? 1 : random.chance(0.7) ? 3 : random.integer(1, std::min(256, k));
    const int n = random.integer(1, 4), h = side(), w = side();
    const MaskType mask = random.chance(0.5) ? MaskType::kA : MaskType::kB;
    const MaskedConv2dShape shape = {{c, k, kernel, mask, groups, Algorithm::kDirect}, n, h, w};
    const double products = double(shape.y_count()) * c * kernel * (kernel / 2 + 1);
    if (products < 6e6) return shape;
  }
}

int run_tests(const Kernels& kernels, int shapes, uint64_t seed) {
  KernelsTest test(kernels, seed);
  Random random(seed);
  for (int i = 0; i < shapes; ++i) {
    const MaskedConv2dShape shape = random_shape(random);
    test.convolution(shape);
    test.containment(shape);
    if (i % 2 == 0) test.front(shape);
    test.head();
    test.sampling();
  }
  test.small_ops();
  const Report& report = test.report;
  std::printf("%s: worst relative error direct %.2g, winograd %.2g, head %.2g\n", kernels.isa,
              report.worst_direct, report.worst_winograd, report.worst_head);
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  const bool bench = argc > 1 && std::strcmp(argv[1], "bench") == 0;
  const int isa_at = bench ? 2 : 3;
  const pixelcnn::cpu::Kernels* kernels = pixelcnn::cpu::kernels(argc > isa_at ? argv[isa_at] : nullptr);
  if (!kernels) {
    std::printf("this build or processor has no such instruction set\n");
    return 2;
  }
  if (bench) return pixelcnn::test::run_bench(*kernels);
  return pixelcnn::test::run_tests(*kernels, argc > 1 ? std::atoi(argv[1]) : 200,
                                   argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
