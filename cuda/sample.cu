// Draws one image channel at the pixels of the sampler's front: computes their logits, draws a level for
// each, and moves the front on. The position of the front is read from device memory, so that one captured
// graph serves every position.
#include "masked_conv2d_operands.h"
#include "reduce.h"
#include "region.h"

namespace pixelcnn::cuda {

namespace {

// A block takes kRows pixels. They are few, because fronts are short and every multiprocessor should get a
// block.
struct SampleTile {
  static constexpr int kRows = 16, kColumns = 128, kWarpRows = 16, kWarpColumns = 32;
  static constexpr int kDepthBytes = 128, kStages = 2;
};
constexpr int kLevels = 256, kLogitsStride = kLevels + 4;
constexpr int kHeld = kLevels / 32;  // levels that one lane holds

// Returns the first level whose cumulative probability exceeds u. One warp computes it; lane l holds
// levels kHeld * l and following. As in native/cpu/sample.cc, sums are in double, temperature 0 takes the
// first of the largest logits, and NaN is never larger.
__device__ inline int draw_level(const float* logits, int levels, float temperature, float u) {
  const int lane = threadIdx.x % 32, begin = lane * kHeld;
  float best = -INFINITY;
  int most = begin;
  for (int v = begin; v < begin + kHeld; ++v) {
    if (v < levels && logits[v] > best) best = logits[v], most = v;
  }
  for (int bits = 16; bits > 0; bits /= 2) {
    const float other = __shfl_xor_sync(kFullWarp, best, bits);
    const int other_most = __shfl_xor_sync(kFullWarp, most, bits);
    if (other > best || (other == best && other_most < most)) best = other, most = other_most;
  }
  if (logits[0] != logits[0]) most = 0;  // no logit is larger than a first NaN
  if (temperature == 0) return most;

  const float largest = logits[most];
  float probability[kHeld];
  double sum = 0;
  for (int i = 0; i < kHeld; ++i) {
    const float exponent = begin + i < levels ? (logits[begin + i] - largest) / temperature : -INFINITY;
    probability[i] = exponent < -87.3f ? 0 : expf(exponent);  // avoids denormal numbers
    sum += probability[i];
  }
  for (int delta = 1; delta < 32; delta *= 2) {
    const double other = __shfl_up_sync(kFullWarp, sum, delta);
    if (lane >= delta) sum += other;
  }
  const double threshold = u * __shfl_sync(kFullWarp, sum, 31);
  double cumulative = __shfl_up_sync(kFullWarp, sum, 1);
  if (lane == 0) cumulative = 0;
  int drawn = -1, last = -1;
  for (int i = 0; i < kHeld; ++i) {
    cumulative += probability[i];
    if (drawn < 0 && cumulative > threshold) drawn = begin + i;
    if (probability[i] > 0) last = begin + i;
  }
  const unsigned reached = __ballot_sync(kFullWarp, drawn >= 0),
                 possible = __ballot_sync(kFullWarp, last >= 0);
  drawn = __shfl_sync(kFullWarp, drawn, reached != 0 ? __ffs(reached) - 1 : 0);
  last = __shfl_sync(kFullWarp, last, possible != 0 ? 31 - __clz(possible) : 0);
  return reached != 0 ? drawn : possible != 0 ? last : most;
}

// none + guidance * (logit - none), each operation rounded once as in native/cpu/sample.cc.
__device__ inline float guided_logit(float logit, float none, float guidance) {
  return __fadd_rn(none, __fmul_rn(guidance, __fadd_rn(logit, -none)));
}

template <Precision precision>
using SampleProduct = BlockTile<precision, SampleTile, Lines::kAlongDepth, Lines::kAlongDepth>;

template <Precision precision>
constexpr int kSampleBytes =  // the stages of the product, followed by the logits
    SampleProduct<precision>::kSharedBytes + int{sizeof(float)} * kLogitsStride* SampleTile::kRows;
constexpr int kSampleBlocks = 3;  // on a multiprocessor of sm_90

template <Precision precision, Copies copies>
__global__ void __launch_bounds__(SampleProduct<precision>::kThreads, kSampleBlocks)
    sample_front_kernel(const SampleFront op, const ConvolveArguments<Element<precision>> conv,
                        FrontPixels pixels) {
  using T = Element<precision>;
  using Tile = SampleProduct<precision>;
  static_assert(blocks_per_multiprocessor(90, Tile::kThreads, kSampleBytes<precision>) >= kSampleBlocks);
  DYNAMIC_SHARED(unsigned char, shared);
  T* stages = reinterpret_cast<T*>(shared);
  float* logits = reinterpret_cast<float*>(shared + Tile::kSharedBytes);  // (kRows, kLogitsStride)

  // With guidance, the pixels under no condition follow those of the N images.
  pixels.begin();
  const bool guided = op.guidance != nullptr;
  const int count = guided ? pixels.count() / 2 : pixels.count();
  const int first = blockIdx.x * SampleTile::kRows, rows = min(SampleTile::kRows, count - first);
  if (rows <= 0) return;  // true for all threads of a block
  const int levels = op.shape.levels, channels = op.shape.channels, channel = op.region.group;
  for (int begin = first; begin < pixels.count(); begin += count) {
    const bool none = begin != first;
    for (int column = 0; column < levels; column += SampleTile::kColumns) {
      ShiftedPixelsBy<copies, T, typename Tile::A, FrontPixels> a(conv, pixels, begin);
      FilterLines<T, typename Tile::B, copies> b(conv, conv.first_output + column);
      Tile tile;
      tile.multiply(stages, (conv.taps.count() + Tile::kDepth - 1) / Tile::kDepth, a, b);
      tile.for_each_pair([&](int row, int across, float low, float high) {
        const auto set = [&](int v, float sum) {
          if (v >= levels) return;
          const float logit = sum + conv.bias[conv.first_output + v];
          float& to = logits[row * kLogitsStride + v];  // of this thread in both rounds
          to = none ? guided_logit(to, logit, *op.guidance) : logit;
        };
        set(column + across, low);
        set(column + across + 1, high);
      });
      __syncthreads();
    }
  }

  const int lane = threadIdx.x % 32;
  for (int row = threadIdx.x / 32; row < rows; row += Tile::kThreads / 32) {
    const int64_t pixel = pixels.dense(first + row), at = pixel * channels + channel;
    const float* own = logits + row * kLogitsStride;
    if (op.logits != nullptr) {
      for (int v = lane; v < levels; v += 32) op.logits[at * levels + v] = own[v];
    }
    int level;
    if (op.known != nullptr && op.known[pixel] != 0) {
      level = op.level[at];
    } else {
      level = draw_level(own, levels, *op.temperature, op.uniforms[at]);
      if (lane == 0) op.level[at] = static_cast<uint8_t>(level);
    }
    if (lane == 0) {
      const T value = from_float<T>(static_cast<float>(level) / static_cast<float>(levels - 1));
      for (int index = first + row; index < pixels.count(); index += count)
        static_cast<T*>(op.image)[pixels.pixel(index) * channels + channel] = value;
    }
  }
}

__global__ void next_front_kernel(int32_t* position, int32_t fronts) {
  *position = static_cast<int32_t>(static_cast<uint32_t>(*position) + static_cast<uint32_t>(fronts));
}

}  // namespace

int64_t workspace(const SampleFront&, const Gpu&) { return 0; }

void run(const SampleFront& op, const Launch& launch) {
  const MaskedConv2dShape head = op.shape.convolution();
  const int copies_of_images = op.guidance != nullptr ? 2 : 1;
  const FrontPixels pixels(op.region, copies_of_images * head.n, head.h, head.w, op.position);
  with_precision(head.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    using Tile = SampleProduct<precision>;
    constexpr int kBytes = kSampleBytes<precision>;
    const ConvolveArguments<T> conv = {.x = static_cast<const T*>(op.x),
                                       .weights = static_cast<const T*>(op.packed),
                                       .bias = op.bias,
                                       .taps = TapIndex(head, Direction::kForward, pixels.pitch()),
                                       .outputs = head.k,
                                       .first_output = op.region.group * op.shape.levels,
                                       .end_output = (op.region.group + 1) * op.shape.levels,
                                       .c = head.c,
                                       .slots = filter_slots(head),
                                       .float_y = true};
    const auto blocks = static_cast<unsigned>(blocks_of(pixels.most() / copies_of_images, SampleTile::kRows));
    with_copies(has_vectors<T>(head.c, head.c, pixels.all() * head.c), [&]<Copies copies>() {
      allow_shared_memory(sample_front_kernel<precision, copies>, kBytes);
      LAUNCH((sample_front_kernel<precision, copies>), blocks, Tile::kThreads, kBytes, launch.stream)
      (op, conv, pixels);
    });
  });
}

int64_t workspace(const NextFront&, const Gpu&) { return 0; }
void run(const NextFront& op, const Launch& launch) {
  LAUNCH(next_front_kernel, 1, 1, 0, launch.stream)(op.position, op.fronts);
}

}  // namespace pixelcnn::cuda
