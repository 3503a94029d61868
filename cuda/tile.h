// Implements the matrix product of one block, which every kernel that multiplies matrices uses: a tile of
// rows x columns of sums, over a depth that is streamed through shared memory in stages.
//
// In every precision a thread owns the sums that mma gives it, so one kernel body serves all precisions. A
// sum runs over the depth in ascending order, in pieces of 32 bytes that begin at multiples of 32, so it
// does not depend on the tile's shape or on its place in the tile.
#pragma once
#include "../native/ops.h"
#include "ptx.h"

namespace pixelcnn::cuda {

template <Precision precision>
struct ElementOf {
  using Type = float;
};
template <>
struct ElementOf<Precision::kBf16> {
  using Type = bf16;
};
template <>
struct ElementOf<Precision::kF16> {
  using Type = f16;
};
template <Precision precision>
using Element = typename ElementOf<precision>::Type;

// Neighbours in memory, which are moved together.
template <class T, int count>
struct alignas(count * sizeof(T)) Neighbours {
  T at[count];
};
// 16 bytes, the most that one access can move.
template <class T>
using Vector = Neighbours<T, 16 / sizeof(T)>;

// Calls body.template operator()<precision>().
template <class Body>
void with_precision(Precision precision, const Body& body) {
  switch (precision) {
    case Precision::kF32:
      return body.template operator()<Precision::kF32>();
    case Precision::kTf32:
      return body.template operator()<Precision::kTf32>();
    case Precision::kBf16:
      return body.template operator()<Precision::kBf16>();
    case Precision::kF16:
      return body.template operator()<Precision::kF16>();
  }
}

// Returns how many blocks of `block` cover `count`.
constexpr int64_t blocks_of(int64_t count, int64_t block) { return (count + block - 1) / block; }

// Returns how many blocks with this many threads and bytes of shared memory fit on one multiprocessor.
// CUDA keeps 1 KB of each block for itself. Kernels assert that the number of blocks in their
// __launch_bounds__ fits, because asking for more would only take registers away from them.
constexpr int blocks_per_multiprocessor(int compute_capability, int threads, int shared_bytes) {
  int most_threads = 1536, kilobytes = 100;  // 8.6, 8.9, 12.0
  switch (compute_capability) {
    case 75:
      most_threads = 1024, kilobytes = 64;
      break;
    case 80:
      most_threads = 2048, kilobytes = 164;
      break;
    case 90:
    case 100:
    case 103:
      most_threads = 2048, kilobytes = 228;
  }
  const int by_threads = most_threads / threads, by_memory = kilobytes * 1024 / (shared_bytes + 1024);
  return by_threads < by_memory ? by_threads : by_memory;
}

// The work of a block: kWarpRows x kWarpColumns sums for each warp, and kDepthBytes of every line in each
// stage.
struct LargeTile {  // 60 KB of shared memory
  static constexpr int kRows = 128, kColumns = 64, kWarpRows = 64, kWarpColumns = 32;
  static constexpr int kDepthBytes = 64, kStages = 4;
};
struct SmallTile {  // 40 KB
  static constexpr int kRows = 32, kColumns = 32, kWarpRows = 16, kWarpColumns = 16;
  static constexpr int kDepthBytes = 128, kStages = 4;
};

// How an operand lies in memory. A line is a row (or column) of the product and runs along the depth, or
// it is one index of the depth and runs across the rows (or columns).
enum class Lines { kAlongDepth, kAcrossDepth };

// One stage of one operand: lines of 16-byte vectors, padded so that neither ldmatrix nor the 32-bit loads
// of fragments cause bank conflicts. A thread fills kCopies vectors, all at the same element offset.
template <class T, int kRows, int kDepth, Lines lines, int kThreads>
struct OperandTile {
  static constexpr bool kAlong = lines == Lines::kAlongDepth;
  static constexpr int kLines = kAlong ? kRows : kDepth, kElements = kAlong ? kDepth : kRows;
  static constexpr int kVector = 16 / sizeof(T), kVectors = kElements / kVector;
  static constexpr int kStride = kElements + (sizeof(T) == 4 && !kAlong ? 8 : kVector);
  static constexpr int kSize = kLines * kStride;
  static constexpr int kLinesAtOnce = kThreads / kVectors, kCopies = kLines / kLinesAtOnce;
  static_assert(kThreads % kVectors == 0 && kLines % kLinesAtOnce == 0);
  static constexpr int kStageDepth = kDepth;

  __device__ static int line(int copy) {
    return static_cast<int>(threadIdx.x) / kVectors + copy * kLinesAtOnce;
  }
  __device__ static int element() { return static_cast<int>(threadIdx.x) % kVectors * kVector; }
  __device__ static T* vector(T* stage, int copy) { return stage + line(copy) * kStride + element(); }
};

// Computes sums[row][column] = sum over the depth of a[row][depth] * b[depth][column], for one block.
template <Precision precision, class Shape, Lines a_lines, Lines b_lines>
class BlockTile {
 public:
  using T = Element<precision>;
  static constexpr int kWarpsAcross = Shape::kColumns / Shape::kWarpColumns;
  static constexpr int kThreads = 32 * (Shape::kRows / Shape::kWarpRows) * kWarpsAcross;
  static constexpr int kDepth = Shape::kDepthBytes / sizeof(T);
  using A = OperandTile<T, Shape::kRows, kDepth, a_lines, kThreads>;
  using B = OperandTile<T, Shape::kColumns, kDepth, b_lines, kThreads>;
  static constexpr int kSharedBytes = Shape::kStages * (A::kSize + B::kSize) * int{sizeof(T)};

  // A source fills the stages of its operand in order. load(step, stage) writes the 16 bytes at
  // vector(stage, i) for every i below kCopies, which are those of line(i) and element() in this step,
  // either by cp_async or by plain stores.
  template <class SourceA, class SourceB>
  __device__ void multiply(T* shared, int steps, SourceA& a, SourceB& b) {
    constexpr int kStageSize = A::kSize + B::kSize, kEnd = Shape::kStages * kStageSize;
    int filled = 0, read = 0;  // the stages that are filled and read next begin here
    const auto load = [&](int step) {
      if (step < steps) {
        a.load(step, shared + filled);
        b.load(step, shared + filled + A::kSize);
      }
      cp_async_commit();  // an empty group keeps the number of groups right
      filled = filled + kStageSize < kEnd ? filled + kStageSize : 0;
    };
#pragma unroll 1
    for (int step = 0; step < Shape::kStages - 1; ++step) load(step);
    for (int step = 0; step < steps; ++step) {
      cp_async_wait<Shape::kStages - 2>();
      __syncthreads();  // all copies are visible, and nobody reads the stage that is filled next
      load(step + Shape::kStages - 1);
      const T* stage = shared + read;
      if constexpr (precision == Precision::kF32)
        add_products(stage, stage + A::kSize);
      else
        add_tensor_core_products(stage, stage + A::kSize);
      read = read + kStageSize < kEnd ? read + kStageSize : 0;
    }
  }

  // Calls body(row, column, sum, sum at column + 1) for all sums of this thread. Columns are even.
  template <class Body>
  __device__ void for_each_pair(const Body& body) const {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_row() + m * 16 + half * 8 + lane() / 4;
#pragma unroll
        for (int n = 0; n < kColumnTiles; ++n) {
          body(row, warp_column() + n * 8 + lane() % 4 * 2, sums_[m][n][2 * half], sums_[m][n][2 * half + 1]);
        }
      }
    }
  }

 private:
  static constexpr int kRowTiles = Shape::kWarpRows / 16, kColumnTiles = Shape::kWarpColumns / 8;
  static_assert(kColumnTiles % 2 == 0);

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32; }
  __device__ static int warp_row() { return warp() / kWarpsAcross * Shape::kWarpRows; }
  __device__ static int warp_column() { return warp() % kWarpsAcross * Shape::kWarpColumns; }

  // Loads the 16x16 (in 32 bits: 16x8) fragment of a at (row, depth).
  __device__ static void load_a(uint32_t (&fragment)[4], const T* tile, int row, int depth) {
    if constexpr (A::kAlong) {
      ldmatrix_x4(fragment, tile + (row + lane() % 16) * A::kStride + depth + lane() / 16 * A::kVector);
    } else if constexpr (sizeof(T) == 2) {
      const int line = depth + lane() / 16 * 8 + lane() % 8;
      ldmatrix_x4_transposed(fragment, tile + line * A::kStride + row + lane() / 8 % 2 * 8);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int line = depth + i / 2 * 4 + lane() % 4;
        fragment[i] = bits_of(tile[line * A::kStride + row + i % 2 * 8 + lane() / 4]);
      }
    }
    round_to_tf32(fragment);
  }
  // Loads the two 16x8 (in 32 bits: 8x8) fragments of b at (depth, column) and (depth, column + 8).
  __device__ static void load_b(uint32_t (&fragment)[4], const T* tile, int depth, int column) {
    if constexpr (B::kAlong) {
      const int line = column + lane() / 16 * 8 + lane() % 8;
      ldmatrix_x4(fragment, tile + line * B::kStride + depth + lane() / 8 % 2 * B::kVector);
    } else if constexpr (sizeof(T) == 2) {
      ldmatrix_x4_transposed(fragment, tile + (depth + lane() % 16) * B::kStride + column + lane() / 16 * 8);
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int line = depth + i % 2 * 4 + lane() % 4;
        fragment[i] = bits_of(tile[line * B::kStride + column + i / 2 * 8 + lane() / 4]);
      }
    }
    round_to_tf32(fragment);
  }
  __device__ static void round_to_tf32(uint32_t (&fragment)[4]) {
    if constexpr (precision == Precision::kTf32) {
#pragma unroll
      for (uint32_t& value : fragment) value = to_tf32(float_of_bits(value));
    }
  }
  __device__ static void mma(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (precision == Precision::kTf32)
      mma_m16n8k8_tf32(sums, a, b);
    else if constexpr (precision == Precision::kBf16)
      mma_m16n8k16_bf16(sums, a, b);
    else
      mma_m16n8k16_f16(sums, a, b);
  }

  __device__ void add_tensor_core_products(const T* a, const T* b) {
    constexpr int kPiece = 32 / sizeof(T);
#pragma unroll
    for (int depth = 0; depth < kDepth; depth += kPiece) {
      uint32_t rows[kRowTiles][4], columns[4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) load_a(rows[m], a, warp_row() + m * 16, depth);
#pragma unroll
      for (int n = 0; n < kColumnTiles; n += 2) {
        load_b(columns, b, depth, warp_column() + n * 8);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma(sums_[m][n], rows[m], {columns[0], columns[1]});
          mma(sums_[m][n + 1], rows[m], {columns[2], columns[3]});
        }
      }
    }
  }

  // Loads four successive depths of one row or column.
  template <class Operand>
  __device__ static void load_four(float (&values)[4], const float* tile, int row, int depth) {
    if constexpr (Operand::kAlong) {
      const float4 four = *reinterpret_cast<const float4*>(tile + row * Operand::kStride + depth);
      values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) values[i] = tile[(depth + i) * Operand::kStride + row];
    }
  }
  __device__ void add_products(const float* a, const float* b) {
#pragma unroll 1
    for (int depth = 0; depth < kDepth; depth += 4) {
      float rows[2 * kRowTiles][4], columns[2][4];
#pragma unroll
      for (int m = 0; m < 2 * kRowTiles; ++m)
        load_four<A>(rows[m], a, warp_row() + m * 8 + lane() / 4, depth);
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
        for (int j = 0; j < 2; ++j)
          load_four<B>(columns[j], b, warp_column() + n * 8 + lane() % 4 * 2 + j, depth);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int m = 0; m < 2 * kRowTiles; ++m) {
            float* sum = &sums_[m / 2][n][m % 2 * 2];
            sum[0] = fmaf(rows[m][i], columns[0][i], sum[0]);
            sum[1] = fmaf(rows[m][i], columns[1][i], sum[1]);
          }
        }
      }
    }
  }

  float sums_[kRowTiles][kColumnTiles][4] = {};
};

}  // namespace pixelcnn::cuda
