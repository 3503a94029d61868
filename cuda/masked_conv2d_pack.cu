// Weights between OIHW float32 and the packed filter [K][slots][C]: masked, cropped and rounded on the way
// in; added up, unscaled and with exact zeros under the mask on the way out.
#include "masked_conv2d.h"
#include "reduce.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

constexpr int kThreads = 256;

// One filter per blockIdx.x, its weights shared out over blockIdx.y.
struct FilterShape {
  int k, c, window, taps, groups;
  bool sees_own_group;
  Divider by_c;

  explicit FilterShape(const MaskedConv2dShape& shape)
      : k(shape.k),
        c(shape.c),
        window(shape.kernel_size * shape.kernel_size),
        taps(live_taps(shape)),
        groups(shape.groups),
        sees_own_group(shape.mask == MaskType::kB),
        by_c(shape.c) {}

  // Channels that an output sees at the centre tap; at the taps before it sees all, at those behind it none.
  __device__ int seen_at_centre(int output) const {
    const int group = static_cast<int>(int64_t{output} * groups / k);
    return first_channel(sees_own_group ? group + 1 : group, groups, c);
  }
};

// Enough blocks per filter for small filters to be one block and large ones to be spread.
dim3 filter_grid(int filters, int64_t weights) {
  const int64_t blocks = blocks_of(weights, 4 * kThreads);
  return dim3(static_cast<unsigned>(filters), static_cast<unsigned>(blocks < 64 ? blocks : 64));
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pack_filters(const float* weight, T* packed, const FilterShape shape, int slots, int centre) {
  const int output = static_cast<int>(blockIdx.x), count = slots * shape.c;
  const int seen = shape.seen_at_centre(output);
  for (int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); i < count; i += gridDim.y * kThreads) {
    int channel = i;
    const int slot = shape.by_c.divide(channel);
    const bool live = slot < centre || (slot == centre && channel < seen);
    const int64_t from = (int64_t{output} * shape.c + channel) * shape.window + slot;
    packed[int64_t{output} * count + i] = from_float<T>(live ? weight[from] : 0.f);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    unpack_filters(const T* packed, const float* bias_parts, int parts, float* weight, float* bias,
                   const FilterShape shape, int slots, int centre, float scale) {
  const int output = static_cast<int>(blockIdx.x), count = shape.window * shape.c;
  if (bias_parts != nullptr && blockIdx.y == 0 && threadIdx.x < 32) {  // a warp
    float sum = 0;
    for (int p = static_cast<int>(threadIdx.x); p < parts; p += 32)
      sum += bias_parts[int64_t{p} * shape.k + output];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) bias[output] = sum * scale;
  }
  const int seen = shape.seen_at_centre(output);
  const int64_t part = int64_t{shape.k} * slots * shape.c;
  for (int i = static_cast<int>(blockIdx.y * kThreads + threadIdx.x); i < count; i += gridDim.y * kThreads) {
    int channel = i;
    const int slot = shape.by_c.divide(channel);
    const bool live = slot < centre || (slot == centre && channel < seen);
    float sum = 0;
    if (live) {
      const T* from = packed + int64_t{output} * slots * shape.c + i;
      for (int p = 0; p < parts; ++p) sum += to_float(from[p * part]);
    }
    weight[(int64_t{output} * shape.c + channel) * shape.window + slot] = sum * scale;
  }
}

int centre_slot(const MaskedConv2dShape& shape) {
  return shape.kernel_size / 2 * shape.kernel_size + shape.kernel_size / 2;
}

}  // namespace

int64_t packed_bytes(const MaskedConv2dShape& shape, Direction) {
  return int64_t{shape.k} * filter_slots(shape) * shape.c * element_bytes(shape.precision);
}

int64_t workspace(const MaskedConv2dPack&, const Gpu&) { return 0; }

void run(const MaskedConv2dPack& op, const Launch& launch) {
  const MaskedConv2dShape& shape = op.shape;
  const int slots = filter_slots(shape);
  with_precision(shape.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    LAUNCH(pack_filters<T>, filter_grid(shape.k, int64_t{slots} * shape.c), kThreads, 0, launch.stream)
    (op.weight, static_cast<T*>(op.packed), FilterShape(shape), slots, centre_slot(shape));
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
    (static_cast<const T*>(packed), bias_parts, parts, op.grad_weight, op.grad_bias, FilterShape(shape),
     filter_slots(shape), centre_slot(shape), scale);
  });
}

}  // namespace pixelcnn::cuda
