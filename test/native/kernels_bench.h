// Times the kernels on the default model's shapes, each as the minimum of several runs. GF/s count live
// taps, also those outside the image.
#pragma once
#include <chrono>

#include "kernels_harness.h"

namespace pixelcnn::test {

template <class Body>
double minimum_ms(int runs, const Body& body) {
  double best = 1e30;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(
        best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

class Bench {
 public:
  Bench(const Kernels& kernels, Precision precision) : kernels_(kernels), precision_(precision), pool_(2) {}

  template <class Op>
  void time(const char* name, const Op& op, double live, int runs = 15) {
    Buffer<std::byte> workspace(workspace_bytes(op));
    Context context{pool_, workspace.data()};
    const double ms = minimum_ms(runs, [&] { run_op(op, context); });
    std::printf("%-44s %8.3f ms %8.1f GF/s\n", name, ms, live / ms * 1e-6);
    std::fflush(stdout);
  }

  void layer(int n, int c, int k, const Window& window, int side, Algorithm algorithm) {
    const MaskedConv2dShape shape = {{c, k, window, 1, algorithm, precision_}, n, side, side};
    const double taps = window.taps() - (window.own_row == OwnRow::kLeft);
    const double live = 2.0 * shape.y_count() * c * taps;
    Random random(1);
    Activations x(precision_, shape.x_count()), y(precision_, shape.y_count()),
        grad_y(precision_, shape.y_count()), grad_x(precision_, shape.x_count());
    Buffer<float> weight(shape.weight_count()), grad_weight(shape.weight_count()), bias(k), grad_bias(k);
    for (Activations* operand : {&x, &grad_y}) random.fill(*operand, false);
    for (Buffer<float>* buffer : {&bias, &weight}) random.fill(*buffer, false);
    Buffer<std::byte> forward(kernels_.packed_bytes(shape, Direction::kForward));
    Buffer<std::byte> backward(kernels_.packed_bytes(shape, Direction::kBackward));
    std::printf("%s\n", describe(shape).c_str());
    time("  pack forward", MaskedConv2dPack{{{weight, forward.data(), shape, Direction::kForward}}, 1}, 0);
    time("  pack backward", MaskedConv2dPack{{{weight, backward.data(), shape, Direction::kBackward}}, 1}, 0);
    time("  forward", MaskedConv2d{x, forward.data(), bias, nullptr, nullptr, y, shape, {}, 1}, live);
    time("  backward input", MaskedConv2dBackwardInput{grad_y, backward.data(), nullptr, x, grad_x, shape},
         live);
    time("  backward weight", MaskedConv2dBackwardWeight{x, grad_y, grad_weight, grad_bias, shape}, live);
  }

  void head(int n, int side, int c, int levels) {
    const HeadShape head = {n, side, side, c, 1, levels, precision_};
    const MaskedConv2dShape shape = head.convolution();
    Random random(1);
    Activations x(precision_, shape.x_count()), grad_x(precision_, shape.x_count());
    Buffer<float> weight(shape.weight_count()), bias(levels);
    Buffer<float> grad_weight(shape.weight_count()), grad_bias(levels);
    random.fill(x, false, 0.3f);
    for (Buffer<float>* buffer : {&weight, &bias}) random.fill(*buffer, false, 0.3f);
    Buffer<uint8_t> level(int64_t{n} * side * side);
    Buffer<double> nats(n);
    std::memset(level.data(), 0, level.count());
    Buffer<std::byte> forward(kernels_.packed_bytes(shape, Direction::kForward));
    Buffer<std::byte> backward(kernels_.packed_bytes(shape, Direction::kBackward));
    run(kernels_, MaskedConv2dPack{{{weight, forward.data(), shape, Direction::kForward}}, 1}, pool_);
    run(kernels_, MaskedConv2dPack{{{weight, backward.data(), shape, Direction::kBackward}}, 1}, pool_);
    const double flops = 2.0 * shape.y_count() * c;
    time("head, forward",
         SoftmaxCrossEntropy{x, forward.data(), nullptr, bias, level, nullptr, nats, nullptr, nullptr,
                             nullptr, head},
         flops);
    time("head, backward",
         SoftmaxCrossEntropy{x, forward.data(), backward.data(), bias, level, x, nats, grad_x, grad_weight,
                             grad_bias, head},
         3 * flops);
  }

  // The default model's sampler, all steps of a batch, with the same buffers for every hidden layer.
  void sampler(int n, int side, int hidden, int levels) {
    const Region front = {Region::Pixels::kFront, 3, 4, 0, 0};
    const HeadShape head = {n, side, side, hidden, 1, levels, precision_};
    const Window mask_a = masked_square(7, OwnRow::kLeft), mask_b = masked_square(7, OwnRow::kCentre);
    const MaskedConv2dShape first = {{1, hidden, mask_a, 1, Algorithm::kDirect, precision_}, n, side, side};
    const MaskedConv2dShape middle = {
        {hidden, hidden, mask_b, 1, Algorithm::kDirect, precision_}, n, side, side};
    const int64_t pixels = front.count(n, side, side);
    Random random(1);
    Activations image(precision_, pixels), a(precision_, pixels * hidden), b(precision_, pixels * hidden);
    Buffer<float> uniforms(first.x_count()), bias(levels);
    for (Activations* tensor : {&image, &a, &b})
      std::memset(tensor->at(0), 0, tensor->count() * tensor->element());
    for (Buffer<float>* buffer : {&uniforms, &bias})
      std::memset(buffer->data(), 0, buffer->count() * sizeof(float));
    Buffer<uint8_t> level(first.x_count());
    std::vector<Buffer<std::byte>> packed;
    for (const MaskedConv2dShape& shape : {first, middle, head.convolution()}) {
      Buffer<float> weight(shape.weight_count());
      random.fill(weight, false, 0.1f);
      packed.emplace_back(kernels_.packed_bytes(shape, Direction::kForward));
      run(kernels_, MaskedConv2dPack{{{weight, packed.back().data(), shape, Direction::kForward}}, 1}, pool_);
    }
    const float temperature = 1;
    int32_t t = 0;
    const SampleFront draw = {b,    packed[2].data(), bias,  uniforms, &temperature, nullptr,
                              &t,   nullptr,          level, image,    nullptr,      head,
                              front};
    Buffer<std::byte> workspace(kernels_.workspace_SampleFront(draw, pool_.threads()));
    Context context{pool_, workspace.data()};
    const double ms = minimum_ms(5, [&] {
      for (t = 0; t < side + front.slope * (side - 1); ++t) {
        kernels_.run_MaskedConv2d({image, packed[0].data(), bias, nullptr, &t, a, first, front, 1}, context);
        for (int i = 0; i < 5; ++i) {
          kernels_.run_MaskedConv2d(
              {i % 2 ? b : a, packed[1].data(), bias, nullptr, &t, i % 2 ? a : b, middle, front, 1}, context);
        }
        kernels_.run_SampleFront(draw, context);
      }
    });
    std::printf("sampler, n=%-3d                                %8.3f ms %8.1f images/s\n", n, ms,
                n / ms * 1e3);
  }

 private:
#define PIXELCNN_X(Op)                                                                                 \
  int64_t workspace_bytes(const Op& op) const { return kernels_.workspace_##Op(op, pool_.threads()); } \
  void run_op(const Op& op, Context& context) const { kernels_.run_##Op(op, context); }
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

  const Kernels& kernels_;
  const Precision precision_;
  ThreadPool pool_;
};

inline int run_bench(const Kernels& kernels, Precision precision) {
  std::printf("%s, 2 threads\n", kernels.isa);
  Bench bench(kernels, precision);
  for (const int size : {7, 5, 3}) {
    bench.layer(32, 64, 64, masked_square(size, OwnRow::kCentre), 28, Algorithm::kDirect);
    bench.layer(32, 64, 64, masked_square(size, OwnRow::kCentre), 28, Algorithm::kWinograd);
  }
  bench.layer(32, 1, 64, masked_square(7, OwnRow::kLeft), 28, Algorithm::kDirect);
  bench.layer(32, 64, 256, masked_square(1, OwnRow::kCentre), 28, Algorithm::kDirect);
  bench.head(32, 28, 64, 256);
  for (int n : {1, 4, 16, 64}) bench.sampler(n, 28, 64, 256);
  return 0;
}

}  // namespace pixelcnn::test
