// Prints what the convolutions launch for a shape on a GPU: blocks, threads, bytes of shared memory, and
// how many such blocks fit on one of its multiprocessors. Nothing runs: LAUNCH only records here, so this
// needs neither a GPU nor the emulator's library.
//   cuda_launches OP PRECISION N H W C K KERNEL_SIZE MULTIPROCESSORS COMPUTE_CAPABILITY
// OP "cost" prints what the model behind the choice finds for a forward convolution in the large and in the
// small tile: blocks, waves, bytes from L2, clocks.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../../cuda/gpu.h"

#undef LAUNCH
#define LAUNCH(kernel, grid, block, shared_bytes, stream) ::pixelcnn::test::note(grid, block, shared_bytes)

namespace pixelcnn::test {

// Takes the place of a kernel's arguments.
struct Arguments {
  template <class... Values>
  void operator()(const Values&...) const {}
};
Arguments note(unsigned blocks, unsigned threads, int64_t shared_bytes);

}  // namespace pixelcnn::test

#include "../../cuda/masked_conv2d_bias_gradient.cu"
#include "../../cuda/masked_conv2d_forward.cu"
#include "../../cuda/masked_conv2d_gradient.cu"
#include "../../cuda/masked_conv2d_region.cu"
#include "../../cuda/sample.cu"

namespace pixelcnn::test {

int compute_capability;

Arguments note(unsigned blocks, unsigned threads, int64_t shared_bytes) {
  const int bytes = static_cast<int>(shared_bytes);
  const int at_once = cuda::blocks_per_multiprocessor(compute_capability, static_cast<int>(threads), bytes);
  std::printf("%u %u %d %d\n", blocks, threads, bytes, at_once);
  return {};
}

}  // namespace pixelcnn::test

// What a launch needs of others.
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { return *value = 0, cudaSuccess; }
namespace pixelcnn::cuda {
void unpack_gradient(const MaskedConv2dBackwardWeight&, const void*, int, bool, const float*, const Launch&) {
}
}  // namespace pixelcnn::cuda

int main(int count, char** words) {
  using namespace pixelcnn;
  if (count != 11) return 2;
  const std::string op = words[1], name = words[2];
  std::vector<int> numbers;
  for (int i = 3; i < count; ++i) numbers.push_back(std::atoi(words[i]));
  test::compute_capability = numbers[7];
  const Precision precision = name == "f32"    ? Precision::kF32
                              : name == "tf32" ? Precision::kTf32
                              : name == "bf16" ? Precision::kBf16
                                               : Precision::kF16;
  const int n = numbers[0], h = numbers[1], w = numbers[2], c = numbers[3], k = numbers[4], size = numbers[5];
  const MaskedConv2dShape shape = {
      {c, k, masked_square(size, OwnRow::kCentre), 1, Algorithm::kDirect, precision}, n, h, w};
  const Region front = {.pixels = Region::Pixels::kFront, .pad = size / 2, .slope = size / 2 + 1, .group = 0};
  float grad_bias;
  const cuda::Launch launch = {nullptr, nullptr, numbers[6], nullptr};
  if (op == "forward") cuda::forward({.shape = shape}, launch);
  if (op == "backwardInput") cuda::backward_input({.shape = shape}, launch);
  if (op == "backwardWeight") cuda::backward_weight({.grad_bias = &grad_bias, .shape = shape}, launch);
  if (op == "front") cuda::forward({.shape = shape, .region = front}, launch);
  if (op == "cost") {
    const cuda::ProductShape product = {int64_t{n} * h * w, k,
                                        int64_t{cuda::live_taps(shape)} * c * element_bytes(precision),
                                        precision != Precision::kF32};
    const auto print = [&]<class Shape>(Shape) {
      using Tile = cuda::ConvolveTile<Precision::kBf16, Direction::kForward, Shape>;
      const auto [blocks, waves, l2_bytes, clocks] =
          cuda::tile_cost<Shape>(product, Tile::kSharedBytes, launch.multiprocessors);
      std::printf("%lld %lld %.0f %.0f\n", static_cast<long long>(blocks), static_cast<long long>(waves),
                  l2_bytes, clocks);
    };
    print(cuda::LargeTile{});
    print(cuda::SmallTile{});
  }
  if (op == "sample") {
    // Levels of one image channel.
    cuda::run(SampleFront{.shape = {n, h, w, c, 1, k, precision}, .region = front}, launch);
  }
}
