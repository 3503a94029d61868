// Computes the model's last layer and its loss. The convolution kernels write logits to the workspace; one
// kernel then reads each logit once, adds up the cross-entropy and writes the gradient of the logits; in
// training the convolution's gradients follow.
//
// The logits of a whole batch would fill the memory (256 levels are 512 bytes per pixel and channel), so
// the batch is processed in chunks of images. The weight gradients of the chunks are added in order.
#include <type_traits>

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
template <class Op>
struct Chunks {
  static constexpr bool kTraining = std::is_same_v<Op, SoftmaxCrossEntropyBackward>;

  const Op& op;
  const LogitRows rows;
  int images;  // in every chunk but the last, which may have fewer

  explicit Chunks(const Op& op) : op(op), rows(op), images(op.n) {
    // Chunks begin at multiples of 16 bytes in x, as the vector kernels need.
    const int64_t step = x_offset(1) % 16 == 0 ? 1 : 8, fitting = kChunkBytes / logit_bytes(1) / step * step;
    if (fitting < images) images = static_cast<int>(fitting > 0 ? fitting : step < op.n ? step : op.n);
  }

  bool several() const { return images < op.n; }
  int last() const { return op.n - (op.n - 1) / images * images; }

  int64_t x_offset(int begin) const {
    return int64_t{begin} * op.h * op.w * op.c * element_bytes(op.precision);
  }
  int64_t logit_bytes(int n) const {
    return rows.per_image * op.levels * n *
           (kTraining ? element_bytes(op.precision) : int64_t{sizeof(float)});
  }
  int64_t sums_at() const { return round_up(logit_bytes(images)); }
  int64_t gradients_at() const {
    return sums_at() + round_up(int64_t{op.n} * rows.blocks * int64_t{sizeof(double)});
  }
  int64_t convolutions_at() const {
    const MaskedConv2dShape head = op.head();
    const int64_t gradients = kTraining && several() ? head.weight_count() + head.k : 0;
    return gradients_at() + round_up(gradients * int64_t{sizeof(float)});
  }

  // Training may use the fastest algorithm. Likelihoods use the exact one and float32 logits.
  MaskedConv2dShape shape(int n) const {
    MaskedConv2dShape shape = op.head();
    shape.n = n;
    if (kTraining) shape.algorithm = Algorithm::kAuto;
    return shape;
  }
  const std::byte* x_at(int begin) const { return static_cast<const std::byte*>(op.x) + x_offset(begin); }
  MaskedConv2dForward forward(int begin, int n, std::byte* logits) const {
    return {x_at(begin), op.packed, op.bias, logits, shape(n), 0, kTraining ? 0 : 1};
  }
  MaskedConv2dBackwardInput backward_input(int begin, int n, const std::byte* logits) const {
    std::byte* grad_x = static_cast<std::byte*>(op.grad_x) + x_offset(begin);
    return {logits, op.packed_backward, x_at(begin), grad_x, shape(n)};
  }
  MaskedConv2dBackwardWeight backward_weight(int begin, int n, const std::byte* logits, float* grad_weight,
                                             float* grad_bias) const {
    return {x_at(begin), logits, grad_weight, grad_bias, shape(n)};
  }
};

// Returns the largest workspace that one of the convolutions needs.
template <class Op>
int64_t head_workspace(const Op& op, const Gpu& gpu) {
  const Chunks<Op> chunks(op);
  int64_t largest = 0;
  const auto ask = [&](const auto& convolution) {
    const int64_t bytes = workspace(convolution, gpu);
    if (bytes > largest) largest = bytes;
  };
  const int sizes[] = {chunks.images, chunks.last()};
  for (const int n : sizes) {
    ask(chunks.forward(0, n, nullptr));
    if constexpr (Chunks<Op>::kTraining) {
      ask(chunks.backward_input(0, n, nullptr));
      ask(chunks.backward_weight(0, n, nullptr, op.grad_weight, op.grad_bias));
    }
  }
  return chunks.convolutions_at() + largest;
}

template <class Op>
void run_head(const Op& op, const Launch& launch) {
  constexpr bool kTraining = Chunks<Op>::kTraining;
  const Chunks<Op> chunks(op);
  std::byte* logits = launch.workspace;
  double* sums = reinterpret_cast<double*>(launch.workspace + chunks.sums_at());
  Launch convolution = launch;
  convolution.workspace += chunks.convolutions_at();

  for (int begin = 0; begin < op.n; begin += chunks.images) {
    const int n = begin + chunks.images < op.n ? chunks.images : op.n - begin;
    const uint8_t* level = op.level + begin * chunks.rows.per_image;
    double* chunk_sums = sums + int64_t{begin} * chunks.rows.blocks;
    run(chunks.forward(begin, n, logits), convolution);
    if constexpr (kTraining) {
      with_precision(op.precision, [&]<Precision precision>() {
        using T = Element<precision>;
        cross_entropy<T, true>(reinterpret_cast<T*>(logits), level, chunk_sums, n, chunks.rows,
                               launch.stream);
      });
      run(chunks.backward_input(begin, n, logits), convolution);
      if (!chunks.several()) {
        run(chunks.backward_weight(begin, n, logits, op.grad_weight, op.grad_bias), convolution);
        continue;
      }
      const MaskedConv2dShape head = op.head();
      float* grad_weight = reinterpret_cast<float*>(launch.workspace + chunks.gradients_at());
      float* grad_bias = grad_weight + head.weight_count();
      run(chunks.backward_weight(begin, n, logits, grad_weight, grad_bias), convolution);
      // backward_weight divided by the gradient_scale of this chunk (n images). Corrects that to the scale
      // of the whole batch.
      const int64_t pixels = int64_t{op.h} * op.w;
      const float factor =
          gradient_scale(op.precision, n * pixels) / gradient_scale(op.precision, op.n * pixels);
      add_gradient(grad_weight, op.grad_weight, head.weight_count(), factor, begin == 0, launch.stream);
      add_gradient(grad_bias, op.grad_bias, head.k, factor, begin == 0, launch.stream);
    } else {
      cross_entropy<float, false>(reinterpret_cast<float*>(logits), level, chunk_sums, n, chunks.rows,
                                  launch.stream);
    }
  }
  LAUNCH(image_nats_kernel, op.n, 32, 0, launch.stream)(sums, op.nats, chunks.rows.blocks);
}

}  // namespace

int64_t workspace(const SoftmaxCrossEntropy& op, const Gpu& gpu) { return head_workspace(op, gpu); }
void run(const SoftmaxCrossEntropy& op, const Launch& launch) { run_head(op, launch); }

int64_t workspace(const SoftmaxCrossEntropyBackward& op, const Gpu& gpu) { return head_workspace(op, gpu); }
void run(const SoftmaxCrossEntropyBackward& op, const Launch& launch) { run_head(op, launch); }

}  // namespace pixelcnn::cuda
