// The head: logits by the convolution kernels into the workspace, then one kernel that reads each logit once,
// sums the cross-entropy and writes the gradient over the logits, then the convolution's gradients.
//
// Many logits at once would fill the memory (256 levels are 512 bytes per pixel and channel), so the batch
// goes through in chunks of images. The weight gradients of the chunks are added in order.
#include <type_traits>

#include "launch.h"
#include "reduce.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32, kPasses = 8;
constexpr int kHeld = 8;  // logits held by a lane

// How rows (the logits of one pixel and channel) are shared out. A row is held by the fewest lanes, a power
// of 2, that can; a block takes kPasses rounds of rows of one image. All of it follows from the image's
// shape, so that its nats have the same bits in any batch and on any GPU.
struct Rows {
  int64_t per_image;
  int levels;
  int lanes;
  int per_warp;
  int64_t per_block;
  int blocks;   // per image
  float scale;  // of the gradient

  template <class Op>
  explicit Rows(const Op& op) : per_image(int64_t{op.h} * op.w * op.channels), levels(op.levels), lanes(1) {
    while (lanes * kHeld < levels) lanes *= 2;
    per_warp = 32 / lanes;
    per_block = int64_t{kPasses} * kWarps * per_warp;
    blocks = static_cast<int>((per_image + per_block - 1) / per_block);
    const double pixels = double(op.n) * op.h * op.w;
    scale = static_cast<float>(gradient_scale(op.precision, int64_t{op.n} * op.h * op.w) /
                               (pixels * op.channels));
  }
};

template <class T>
struct alignas(16) Vector {
  T at[16 / sizeof(T)];
};

// The part of a row of `levels` logits (0 for a row that is not there) that a lane holds: neighbours where
// rows are a multiple of 16 bytes, else every `lanes`-th logit.
template <class T, bool kVector>
struct Part {
  int levels, lanes, lane;

  __device__ int index(int i) const { return kVector ? lane * kHeld + i : lane + i * lanes; }
  __device__ int owner(int level) const { return kVector ? level / kHeld : level % lanes; }

  // -inf beyond the row's end.
  __device__ void load(const T* row, float (&value)[kHeld]) const {
    if constexpr (kVector) {
      constexpr int kCount = 16 / sizeof(T);
      for (int first = 0; first < kHeld; first += kCount) {
        Vector<T> vector = {};
        const bool inside = index(first) < levels;
        if (inside) vector = *reinterpret_cast<const Vector<T>*>(row + index(first));
        for (int i = 0; i < kCount; ++i) value[first + i] = inside ? to_float(vector.at[i]) : -INFINITY;
      }
    } else {
      for (int i = 0; i < kHeld; ++i) value[i] = index(i) < levels ? to_float(row[index(i)]) : -INFINITY;
    }
  }

  __device__ void store(T* row, const float (&value)[kHeld]) const {
    if constexpr (kVector) {
      constexpr int kCount = 16 / sizeof(T);
      for (int first = 0; first < kHeld; first += kCount) {
        Vector<T> vector = {};
        for (int i = 0; i < kCount; ++i) vector.at[i] = from_float<T>(value[first + i]);
        if (index(first) < levels) *reinterpret_cast<Vector<T>*>(row + index(first)) = vector;
      }
    } else {
      for (int i = 0; i < kHeld; ++i) {
        if (index(i) < levels) row[index(i)] = from_float<T>(value[i]);
      }
    }
  }
};

// The fast exponential is exact enough where its result is rounded to 16 bits.
template <class T>
__device__ inline float exponential(float x) {
  return sizeof(T) == 2 ? __expf(x) : expf(x);
}

// Nats of a block's rows to sums[block]; with kGradient the logits become (softmax - one hot) * scale.
template <class T, bool kVector, bool kGradient>
__global__ void __launch_bounds__(kThreads, 3)
    cross_entropy_kernel(T* __restrict__ logits, const uint8_t* __restrict__ level, double* __restrict__ sums,
                         Rows rows) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t image = blockIdx.x / rows.blocks;
  const int64_t begin = blockIdx.x % rows.blocks * rows.per_block;
  double nats = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const int64_t first = begin + int64_t{pass * kWarps + warp} * rows.per_warp;
    if (first >= rows.per_image) break;  // the whole warp
    const int64_t in_image = first + lane / rows.lanes;
#if PLANT == 104  // rows beyond the image's last one
    const bool inside = true;
#else
    const bool inside = in_image < rows.per_image;
#endif
    const Part<T, kVector> part = {inside ? rows.levels : 0, rows.lanes, lane % rows.lanes};
    const int64_t at = image * rows.per_image + (inside ? in_image : first);
    T* row = logits + at * rows.levels;
    const int target = min(static_cast<int>(level[at]), rows.levels - 1);

    float value[kHeld], target_logit = 0, sum = 0;
    part.load(row, value);
    float largest = value[0];
    for (int i = 0; i < kHeld; ++i) {
      largest = fmaxf(largest, value[i]);
#if PLANT == 103  // the neighbouring level
      if (part.index(i) == target + 1) target_logit = value[i];
#else
      if (part.index(i) == target) target_logit = value[i];
#endif
    }
    largest = warp_max(largest, rows.lanes);
    target_logit = __shfl_sync(kFullWarp, target_logit, part.owner(target), rows.lanes);
    for (int i = 0; i < kHeld; ++i) {
      value[i] = part.index(i) < part.levels ? exponential<T>(value[i] - largest) : 0;
      sum += value[i];
    }
    sum = warp_sum(sum, rows.lanes);
    if (inside && part.lane == 0) {
      nats +=
          static_cast<double>(logf(sum)) + (static_cast<double>(largest) - static_cast<double>(target_logit));
    }
    if constexpr (kGradient) {
      const float factor = rows.scale / sum;
      for (int i = 0; i < kHeld; ++i) {
        value[i] = value[i] * factor - (part.index(i) == target ? rows.scale : 0);
      }
      part.store(row, value);
    }
  }
  nats = block_sum<kWarps>(nats);
  if (threadIdx.x == 0) sums[blockIdx.x] = nats;
}

// nats[image] = the sum of its blocks. One warp per image.
__global__ void __launch_bounds__(32)
    image_nats_kernel(const double* __restrict__ sums, double* __restrict__ nats, int blocks) {
  double sum = 0;
  for (int block = threadIdx.x; block < blocks; block += 32)
    sum += sums[int64_t{blockIdx.x} * blocks + block];
  sum = warp_sum(sum);
#if PLANT == 105  // every image's block writes the first image's sum
  if (threadIdx.x == 0) nats[0] = sum;
#endif
  if (threadIdx.x == 0) nats[blockIdx.x] = sum;
}

// total = (first ? 0 : total) + chunk * factor.
__global__ void __launch_bounds__(kThreads)
    add_gradient_kernel(const float* __restrict__ chunk, float* __restrict__ total, int count, float factor,
                        bool first) {
  const int at = blockIdx.x * kThreads + threadIdx.x;
  if (at < count) total[at] = (first ? 0 : total[at]) + chunk[at] * factor;
}

void add_gradient(const float* chunk, float* total, int64_t count, float factor, bool first,
                  cudaStream_t stream) {
  const int blocks = static_cast<int>((count + kThreads - 1) / kThreads);
  LAUNCH(add_gradient_kernel, blocks, kThreads, 0, stream)
  (chunk, total, static_cast<int>(count), factor, first);
}

template <class T, bool kGradient>
void cross_entropy(T* logits, const uint8_t* level, double* sums, int images, const Rows& rows,
                   cudaStream_t stream) {
  const int blocks = images * rows.blocks;
  if (rows.levels * sizeof(T) % 16 == 0) {
    LAUNCH((cross_entropy_kernel<T, true, kGradient>), blocks, kThreads, 0, stream)
    (logits, level, sums, rows);
  } else {
    LAUNCH((cross_entropy_kernel<T, false, kGradient>), blocks, kThreads, 0, stream)
    (logits, level, sums, rows);
  }
}

int64_t round_up(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Emulated shapes are small: their chunks are too, so that tests go through several.
#ifdef PIXELCNN_CUDA_EMULATOR
constexpr int64_t kChunkBytes = 64 << 10;
#else
constexpr int64_t kChunkBytes = 256 << 20;
#endif

// How the batch is cut, and what the workspace holds: the logits of a chunk, the blocks' nats, in training
// with several chunks the parameter gradients of one, and what the convolutions ask for.
template <class Op>
class Chunks {
 public:
  static constexpr bool kTraining = std::is_same_v<Op, SoftmaxCrossEntropyBackward>;

  explicit Chunks(const Op& op) : op_(op), rows(op), images(op.n) {
    // Chunks begin at multiples of 16 bytes in x, as vector kernels need.
    const int64_t x_bytes = int64_t{op.h} * op.w * op.c * element_bytes(op.precision);
    const int64_t step = x_bytes % 16 == 0 ? 1 : 8, fitting = kChunkBytes / logit_bytes(1) / step * step;
    if (fitting < images) images = static_cast<int>(fitting < step ? (step < op.n ? step : op.n) : fitting);
  }

  bool several() const { return images < op_.n; }
  int last() const { return op_.n - (op_.n - 1) / images * images; }

  int64_t logit_bytes(int n) const {
    return rows.per_image * op_.levels * n *
           (kTraining ? element_bytes(op_.precision) : int64_t{sizeof(float)});
  }
  int64_t sums_at() const { return round_up(logit_bytes(images)); }
  int64_t gradients_at() const {
    return sums_at() + round_up(int64_t{op_.n} * rows.blocks * int64_t{sizeof(double)});
  }
  int64_t convolutions_at() const {
    const MaskedConv2dShape head = op_.head();
    const bool gradients = kTraining && several();
    return gradients_at() +
           (gradients ? round_up((head.weight_count() + head.k) * int64_t{sizeof(float)}) : 0);
  }

  // Training may take the fastest algorithm; likelihoods keep to the exact one and to float32 logits.
  MaskedConv2dForward forward(int begin, int n, std::byte* logits) const {
    return {x_at(begin), op_.packed, op_.bias, logits, shape(n), 0, kTraining ? 0 : 1};
  }
  MaskedConv2dBackwardInput backward_input(int begin, int n, const std::byte* logits) const {
    const int64_t offset = x_offset(begin);
    return {logits, op_.packed_backward, x_at(begin), static_cast<std::byte*>(op_.grad_x) + offset, shape(n)};
  }
  MaskedConv2dBackwardWeight backward_weight(int begin, int n, const std::byte* logits, float* grad_weight,
                                             float* grad_bias) const {
    return {x_at(begin), logits, grad_weight, grad_bias, shape(n)};
  }

 private:
  MaskedConv2dShape shape(int n) const {
    MaskedConv2dShape shape = op_.head();
    shape.n = n;
    if (kTraining) shape.algorithm = Algorithm::kAuto;
    return shape;
  }
  int64_t x_offset(int begin) const {
    return int64_t{begin} * op_.h * op_.w * op_.c * element_bytes(op_.precision);
  }
  const std::byte* x_at(int begin) const { return static_cast<const std::byte*>(op_.x) + x_offset(begin); }

  const Op& op_;

 public:
  const Rows rows;
  int images;  // of every chunk but the last
};

// The convolutions' own share is the largest that any of them asks for.
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
      // It took out the scale of a batch of n images.
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
