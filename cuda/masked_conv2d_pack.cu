// Converts weights between float32 in OIHW order and the packed filter [K][slots][C]. Packing masks, crops
// and rounds weights; unpacking adds up the parts of a gradient, divides by gradient_scale, and writes
// exact zeros under the mask.
#include "masked_conv2d.h"
#include "reduce.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256;

struct FilterMask {
  int k, c, channel_groups;
  bool sees_own_group, pairs;

  // Returns the number of input channels that an output sees at the last tap: group_begin, for the group of
  // the output. It sees all channels at the taps before that, and none at those after it. Products are below
  // 2^24, so 32 bits suffice, which saves registers.
  __device__ int seen_at_last(int output) const {
    const int halves = pairs ? 1 : 0;  // a shift from the halves of gates to gates
    const int group = (output >> halves) * channel_groups / (k >> halves);
    const int end = sees_own_group ? group + 1 : group;
    return (end * c + channel_groups - 1) / channel_groups;
  }
};

// Where the groups do not matter, all channels are one group that sees itself.
FilterMask mask_of(const FilterShape& shape) {
  const int groups = shape.window.has_grouped_centre() ? shape.channel_groups : 1;
  return {shape.k, shape.c, groups, shape.window.own_row != OwnRow::kLeft, shape.pairs != 0};
}

int last_slot(const FilterShape& shape) { return shape.window.taps() - 1; }

struct UnpackedFilter : FilterMask {
  int window;
  Divider by_c;

  explicit UnpackedFilter(const FilterShape& shape)
      : FilterMask(mask_of(shape)), window(shape.window.weights()), by_c(shape.c) {}
};

// blockIdx.x is an output; its weights are shared out over blockIdx.y: one block if they are few, at most
// 64 blocks.
dim3 filter_grid(int outputs, int64_t weights) {
  const int64_t blocks = blocks_of(weights, 4 * kThreads);
  return dim3(static_cast<unsigned>(outputs), static_cast<unsigned>(blocks < 64 ? blocks : 64));
}

constexpr int kTileSide = 32;

// One filter of the list. The weights of one output are a matrix [C][window], which is transposed into
// [slots][C] in tiles of kTileSide x kTileSide. `parts` blocks share the tiles of an output.
template <class T>
struct ListedFilter {
  const float* weight;
  T* packed;
  FilterMask mask;
  int window, slots, last, parts, blocks;
};

template <class T>
ListedFilter<T> listed(const FilterPack& filter) {
  const FilterShape& shape = filter.shape;
  const int slots = filter_slots(shape);
  const int64_t tiles = blocks_of(shape.c, kTileSide) * blocks_of(slots, kTileSide);
  const int parts = static_cast<int>(tiles < 64 ? tiles : 64);
  return {.weight = filter.weight,
          .packed = static_cast<T*>(filter.packed),
          .mask = mask_of(shape),
          .window = shape.window.weights(),
          .slots = slots,
          .last = last_slot(shape),
          .parts = parts,
          .blocks = shape.k * parts};
}

template <class T>
struct FilterList {
  ListedFilter<T> filters[MaskedConv2dPack::kMostFilters];
};
static_assert(sizeof(FilterList<float>) <= 4096, "every driver takes 4 KB of kernel parameters, not more");

// Packs all filters of a list. Tiles are transposed in shared memory, so that neighbouring threads read
// neighbouring taps and write neighbouring channels. The loops are unrolled twice, because more takes more
// than 32 registers on sm_80, and so fewer blocks at once.
template <class T>
__global__ void __launch_bounds__(kThreads) pack_filters(const FilterList<T> list) {
  int index = 0, block = static_cast<int>(blockIdx.x);
  while (block >= list.filters[index].blocks) block -= list.filters[index++].blocks;
  const ListedFilter<T>& filter = list.filters[index];
  const int c = filter.mask.c, slots = filter.slots, window = filter.window;
  const int output = block / filter.parts, seen = filter.mask.seen_at_last(output);
  const float* weight = filter.weight + int64_t{output} * c * window;
  T* packed = filter.packed + int64_t{output} * slots * c;

  SHARED(float, tile, [kTileSide][kTileSide + 1]);
  const int lane = static_cast<int>(threadIdx.x) % kTileSide,
            first_row = static_cast<int>(threadIdx.x) / kTileSide;
  const int across = (c + kTileSide - 1) / kTileSide, tiles = across * ((slots + kTileSide - 1) / kTileSide);
  for (int at = block % filter.parts; at < tiles; at += filter.parts) {
    const int first_slot = at / across * kTileSide, first_channel = at % across * kTileSide;
#pragma unroll 2
    for (int row = first_row; row < kTileSide; row += kThreads / kTileSide) {
      const int slot = first_slot + lane, channel = first_channel + row;
      const bool live = channel < c && (slot < filter.last || (slot == filter.last && channel < seen));
      tile[row][lane] = live ? weight[int64_t{channel} * window + slot] : 0.f;
    }
    __syncthreads();
#pragma unroll 2
    for (int row = first_row; row < kTileSide; row += kThreads / kTileSide) {
      const int slot = first_slot + row, channel = first_channel + lane;
      if (slot < slots && channel < c) packed[int64_t{slot} * c + channel] = from_float<T>(tile[lane][row]);
    }
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    unpack_filters(const T* packed, const float* bias_parts, int parts, float* weight, float* bias,
                   const UnpackedFilter filter, int slots, int last, float scale) {
  const int output = static_cast<int>(blockIdx.x), count = filter.window * filter.c;
  if (bias_parts != nullptr && blockIdx.y == 0 && threadIdx.x < 32) {  // one warp per output
    float sum = 0;
    for (int p = static_cast<int>(threadIdx.x); p < parts; p += 32)
      sum += bias_parts[int64_t{p} * filter.k + output];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) bias[output] = sum * scale;
  }
  const int seen = filter.seen_at_last(output);
  const int64_t part = int64_t{filter.k} * slots * filter.c;
  for (int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); i < count; i += gridDim.y * kThreads) {
    int channel = i;
    const int slot = filter.by_c.divide(channel);
    const bool live = slot < last || (slot == last && channel < seen);
    float sum = 0;
    if (live) {
      const T* from = packed + int64_t{output} * slots * filter.c + i;
      for (int p = 0; p < parts; ++p) sum += to_float(from[p * part]);
    }
    weight[(int64_t{output} * filter.c + channel) * filter.window + slot] = sum * scale;
  }
}

}  // namespace

int64_t packed_bytes(const FilterShape& shape, Direction) {
  return int64_t{shape.k} * filter_slots(shape) * shape.c * element_bytes(shape.precision);
}

int64_t workspace(const MaskedConv2dPack&, const Gpu&) { return 0; }

void run(const MaskedConv2dPack& op, const Launch& launch) {
  with_precision(op.filters[0].shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    FilterList<T> list{};
    int blocks = 0;
    for (int i = 0; i < op.count; ++i) {
      list.filters[i] = listed<T>(op.filters[i]);
      blocks += list.filters[i].blocks;
    }
    LAUNCH(pack_filters<T>, blocks, kThreads, 0, launch.stream)(list);
  });
}

void unpack_gradient(const MaskedConv2dBackwardWeight& op, const void* packed, int parts, bool rounded,
                     const float* bias_parts, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  const float scale = 1 / gradient_scale(shape.precision, int64_t{shape.n} * shape.h * shape.w);
  with_precision(rounded ? shape.precision : Precision::kF32, [&]<Precision precision>() {
    using T = Element<precision>;
    LAUNCH(unpack_filters<T>, filter_grid(shape.k, shape.weight_count() / shape.k), kThreads, 0,
           launch.stream)
    (static_cast<const T*>(packed), op.grad_bias != nullptr ? bias_parts : nullptr, parts, op.grad_weight,
     op.grad_bias, UnpackedFilter(shape), filter_slots(shape), last_slot(shape), scale);
  });
}

}  // namespace pixelcnn::cuda
