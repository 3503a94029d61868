// Looks up rows of a table, and adds up the gradients of its rows.
#include "pixel_channels.h"

namespace pixelcnn::cuda {

namespace {

// An index beyond the table takes the last row.
__device__ inline int row_of(uint32_t index, int rows) {
  return static_cast<int>(min(index, static_cast<uint32_t>(rows - 1)));
}

template <class T, int neighbours>
__global__ void __launch_bounds__(kFlatThreads)
    embedding_kernel(const float* table, const uint32_t* index, T* y, PixelChannels<neighbours> columns,
                     int count, int rows, int size) {
  columns.for_own(count, [&](int i, int column) {
    const float* from = table + int64_t{row_of(index[i], rows)} * size + column;
    const auto values = *reinterpret_cast<const Neighbours<float, neighbours>*>(from);
    Neighbours<T, neighbours> rounded;
#pragma unroll
    for (int v = 0; v < neighbours; ++v) rounded.at[v] = from_float<T>(values.at[v]);
    *reinterpret_cast<Neighbours<T, neighbours>*>(y + int64_t{i} * size + column) = rounded;
  });
}

constexpr int kWarps = kFlatThreads / 32;
// A warp looks at so many indices, and loads so many gradients, before it waits for them.
constexpr int kIndices = 256, kLoads = 8;

// Each warp takes 32 columns of one row, one per lane. It looks for its row among all indices, and adds the
// gradients that it finds in increasing order.
template <class T>
__global__ void __launch_bounds__(kFlatThreads)
    embedding_gradient_kernel(const uint32_t* index, const T* grad_y, float* grad_table, int count, int rows,
                              int size, float scale) {
  SHARED(int, found, [kWarps][kIndices]);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int across = (size + 31) / 32, block = static_cast<int>(blockIdx.x) * kWarps + warp;
  const int row = block / across, column = (block - row * across) * 32 + lane;
  if (row >= rows) return;  // true for all lanes of a warp
  float sum = 0;
  for (int first = 0; first < count; first += kIndices) {
    bool matches[kIndices / 32];
#pragma unroll
    for (int i = 0; i < kIndices / 32; ++i) {
      const int at = first + 32 * i + lane;
      matches[i] = at < count && row_of(index[at], rows) == row;
    }
    int total = 0;
#pragma unroll
    for (int i = 0; i < kIndices / 32; ++i) {
      const unsigned lanes = __ballot_sync(kFullWarp, matches[i]);
      if (matches[i]) found[warp][total + __popc(lanes & ((1u << lane) - 1))] = first + 32 * i + lane;
      total += __popc(lanes);
    }
    __syncwarp();
    for (int begin = 0; begin < total; begin += kLoads) {
      float values[kLoads];
#pragma unroll
      for (int i = 0; i < kLoads; ++i) {
        // To add 0 in the place of a value that is not there changes no bit.
        const bool exists = begin + i < total && column < size;
        values[i] = exists ? to_float(grad_y[int64_t{found[warp][begin + i]} * size + column]) : 0;
      }
#pragma unroll
      for (int i = 0; i < kLoads; ++i) sum += values[i];
    }
    __syncwarp();
  }
  if (column < size) grad_table[int64_t{row} * size + column] = sum * scale;
}

}  // namespace

int64_t workspace(const Embedding&, const Gpu&) { return 0; }

void run(const Embedding& op, const Launch& launch) {
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const ChannelRange all = {0, op.size};
    with_neighbours<16 / sizeof(T)>(op.size, all, [&]<int neighbours>() {
      const PixelChannels<neighbours> columns(all);
      LAUNCH((embedding_kernel<T, neighbours>), columns.blocks(op.count), kFlatThreads, 0, launch.stream)
      (op.table, op.index, static_cast<T*>(op.y), columns, op.count, op.rows, op.size);
    });
  });
}

int64_t workspace(const EmbeddingBackward&, const Gpu&) { return 0; }

void run(const EmbeddingBackward& op, const Launch& launch) {
  const int64_t warps = op.rows * blocks_of(op.size, 32);
  const float scale = 1 / gradient_scale(op.precision, op.count);
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    LAUNCH(embedding_gradient_kernel<T>, static_cast<unsigned>(blocks_of(warps, kWarps)), kFlatThreads, 0,
           launch.stream)
    (op.index, static_cast<const T*>(op.grad_y), op.grad_table, op.count, op.rows, op.size, scale);
  });
}

}  // namespace pixelcnn::cuda
