// Computes the model's last layer and its loss. The convolution kernels write logits to the workspace; one
// kernel then reads each logit once, adds up the cross-entropy and writes the gradient of the logits; in
// training the convolution's gradients follow.
//
// The logits of a whole batch would fill the memory (256 levels are 512 bytes per pixel and channel), so
// the batch is processed in chunks of images. The weight gradients of the chunks are added in order.
#include "cross_entropy.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kAddThreads = 256;

// Computes total = (first ? 0 : total) + chunk * factor.
__global__ void __launch_bounds__(kAddThreads)
    add_gradient_kernel(const float* __restrict__ chunk, float* __restrict__ total, int count, float factor,
                        bool first) {
  const int at = blockIdx.x * kAddThreads + threadIdx.x;
  if (at < count) total[at] = (first ? 0 : total[at]) + chunk[at] * factor;
}

void add_gradient(const float* chunk, float* total, int64_t count, float factor, bool first,
                  cudaStream_t stream) {
  const int blocks = static_cast<int>((count + kAddThreads - 1) / kAddThreads);
  LAUNCH(add_gradient_kernel, blocks, kAddThreads, 0, stream)
  (chunk, total, static_cast<int>(count), factor, first);
}

int64_t round_up(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// The emulator's tests have small shapes, so its chunks are small too, and tests still process several.
#ifdef PIXELCNN_CUDA_EMULATOR
constexpr int64_t kChunkBytes = 16 << 10;
#else
constexpr int64_t kChunkBytes = 256 << 20;
#endif

// Says how the batch is cut, and lays out the workspace: the logits of a chunk, the nats of its blocks, in
// training with several chunks the parameter gradients of one chunk, and the convolutions' own workspace.
struct Chunks {
  const SoftmaxCrossEntropy& op;
  const HeadShape& head;
  const LogitRows rows;
  int images;  // in every chunk but the last, which may have fewer

  explicit Chunks(const SoftmaxCrossEntropy& op) : op(op), head(op.shape), rows(head), images(head.n) {
    // Chunks begin at multiples of 16 bytes in x, as the vector kernels need.
    const int64_t step = x_offset(1) % 16 == 0 ? 1 : 8, fitting = kChunkBytes / logit_bytes(1) / step * step;
    if (fitting < images) images = static_cast<int>(fitting > 0 ? fitting : step < head.n ? step : head.n);
  }

  bool several() const { return images < head.n; }
  int last() const { return head.n - (head.n - 1) / images * images; }

  int64_t x_offset(int begin) const {
    return int64_t{begin} * head.h * head.w * head.c * element_bytes(head.precision);
  }
  int64_t logit_bytes(int n) const {
    return rows.per_image * head.levels * n *
           (op.training() ? element_bytes(head.precision) : int64_t{sizeof(float)});
  }
  int64_t sums_at() const { return round_up(logit_bytes(images)); }
  int64_t gradients_at() const {
    return sums_at() + round_up(int64_t{head.n} * rows.blocks * int64_t{sizeof(double)});
  }
  int64_t convolutions_at() const {
    const int64_t gradients = op.training() && several() ? weight_count() + bias_count() : 0;
    return gradients_at() + round_up(gradients * int64_t{sizeof(float)});
  }

  int64_t weight_count() const { return head.convolution().weight_count(); }
  int64_t bias_count() const { return head.convolution().k; }

  // Training may use the fastest algorithm. Likelihoods use the exact one and float32 logits.
  MaskedConv2dShape shape(int n) const {
    MaskedConv2dShape shape = head.convolution();
    shape.n = n;
    if (op.training()) shape.algorithm = Algorithm::kAuto;
    return shape;
  }
  const std::byte* x_at(int begin) const { return static_cast<const std::byte*>(op.x) + x_offset(begin); }
  MaskedConv2d forward(int begin, int n, std::byte* logits) const {
    return {.x = x_at(begin),
            .packed = op.packed,
            .bias = op.bias,
            .add = nullptr,
            .position = nullptr,
            .y = logits,
            .shape = shape(n),
            .region = {},
            .relu = 0,
            .float_y = op.training() ? 0 : 1};
  }
  MaskedConv2dBackwardInput backward_input(int begin, int n, const std::byte* logits) const {
    const std::byte* relu_output = static_cast<const std::byte*>(op.relu_output);
    return {.grad_y = logits,
            .packed = op.packed_backward,
            .add = nullptr,
            .relu_output = relu_output != nullptr ? relu_output + x_offset(begin) : nullptr,
            .grad_x = static_cast<std::byte*>(op.grad_x) + x_offset(begin),
            .shape = shape(n)};
  }
  MaskedConv2dBackwardWeight backward_weight(int begin, int n, const std::byte* logits, float* grad_weight,
                                             float* grad_bias) const {
    return {x_at(begin), logits, grad_weight, grad_bias, shape(n)};
  }
};

}  // namespace

// The convolutions share one workspace, which fits the one that needs most.
int64_t workspace(const SoftmaxCrossEntropy& op, const Gpu& gpu) {
  const Chunks chunks(op);
  int64_t largest = 0;
  const auto ask = [&](const auto& convolution) {
    const int64_t bytes = workspace(convolution, gpu);
    if (bytes > largest) largest = bytes;
  };
  const int sizes[] = {chunks.images, chunks.last()};
  for (const int n : sizes) {
    ask(chunks.forward(0, n, nullptr));
    if (!op.training()) continue;
    ask(chunks.backward_input(0, n, nullptr));
    ask(chunks.backward_weight(0, n, nullptr, op.grad_weight, op.grad_bias));
  }
  return chunks.convolutions_at() + largest;
}

void run(const SoftmaxCrossEntropy& op, const Launch& launch) {
  const HeadShape& head = op.shape;
  const Chunks chunks(op);
  std::byte* logits = launch.workspace;
  double* sums = reinterpret_cast<double*>(launch.workspace + chunks.sums_at());
  Launch convolution = launch;
  convolution.workspace += chunks.convolutions_at();

  for (int begin = 0; begin < head.n; begin += chunks.images) {
    const int n = begin + chunks.images < head.n ? chunks.images : head.n - begin;
    const uint8_t* level = op.level + begin * chunks.rows.per_image;
    double* chunk_sums = sums + int64_t{begin} * chunks.rows.blocks;
    run(chunks.forward(begin, n, logits), convolution);
    if (!op.training()) {
      cross_entropy<float, false>(reinterpret_cast<float*>(logits), level, chunk_sums, n, chunks.rows,
                                  launch.stream);
      continue;
    }
    with_precision(head.precision, [&]<Precision precision>() {
      using T = Element<precision>;
      cross_entropy<T, true>(reinterpret_cast<T*>(logits), level, chunk_sums, n, chunks.rows, launch.stream);
    });
    run(chunks.backward_input(begin, n, logits), convolution);
    if (!chunks.several()) {
      run(chunks.backward_weight(begin, n, logits, op.grad_weight, op.grad_bias), convolution);
      continue;
    }
    float* grad_weight = reinterpret_cast<float*>(launch.workspace + chunks.gradients_at());
    float* grad_bias = grad_weight + chunks.weight_count();
    run(chunks.backward_weight(begin, n, logits, grad_weight, grad_bias), convolution);
    // backward_weight divided by the gradient_scale of this chunk (n images). Corrects that to the scale
    // of the whole batch.
    const int64_t pixels = int64_t{head.h} * head.w;
    const float factor =
        gradient_scale(head.precision, n * pixels) / gradient_scale(head.precision, head.n * pixels);
    add_gradient(grad_weight, op.grad_weight, chunks.weight_count(), factor, begin == 0, launch.stream);
    add_gradient(grad_bias, op.grad_bias, chunks.bias_count(), factor, begin == 0, launch.stream);
  }
  LAUNCH(image_nats_kernel, head.n, 32, 0, launch.stream)(sums, op.nats, chunks.rows.blocks);
}

}  // namespace pixelcnn::cuda
