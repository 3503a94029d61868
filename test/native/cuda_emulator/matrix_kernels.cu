// Implements the kernels of matrix.h with one warp and one tile each.
#include "../../../cuda/ptx.h"
#include "matrix.h"

namespace emulator_test {

using namespace pixelcnn::cuda;

namespace {

template <class T>
__global__ void tile_kernel(const float* a, const float* b, float* d, int depth, bool transposed) {
  SHARED(T, tile_a, [16][16]);  // of a transpose: [depth][row]
  SHARED(T, tile_b, [16][16]);  // [depth][column], of a transpose: [column][depth]
  const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
  for (int e = lane; e < 256; e += 32) {
    const int i = e / 16, j = e % 16;  // a's row and depth; b's depth and column
    T& to_a = transposed ? tile_a[j][i] : tile_a[i][j];
    T& to_b = transposed ? tile_b[j][i] : tile_b[i][j];
    to_a = from_float<T>(j < depth ? a[i * depth + j] : 0);
    to_b = from_float<T>(i < depth && j < 8 ? b[i * 8 + j] : 0);
  }
  __syncwarp();
  uint32_t fragment_a[4], fragment_b[2];
  if (transposed) {
    ldmatrix_x4_transposed(fragment_a, &tile_a[lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
    emulator::ldmatrix(fragment_b, 2, false, &tile_b[lane % 8][lane / 8 % 2 * 8], emulator::Site::current());
  } else {
    ldmatrix_x4(fragment_a, &tile_a[lane % 16][lane / 16 * 8]);
    emulator::ldmatrix(fragment_b, 2, true, &tile_b[lane % 16][0], emulator::Site::current());
  }
  float sum[4] = {};
  if constexpr (std::is_same_v<T, bf16>)
    mma_m16n8k16_bf16(sum, fragment_a, fragment_b);
  else if (depth == 16)
    mma_m16n8k16_f16(sum, fragment_a, fragment_b);
  else
    mma_m16n8k8_f16(sum, fragment_a[0], fragment_a[1], fragment_b[0]);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

__global__ void tf32_kernel(const float* a, const float* b, float* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  const auto at = [&](int row, int k) { return to_tf32(a[row * 8 + k]); };
  float sum[4] = {};
  mma_m16n8k8_tf32(sum, {at(g, t), at(g + 8, t), at(g, t + 4), at(g + 8, t + 4)},
                   {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])});
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

}  // namespace

void multiply_tile(Instruction instruction, bool transposed, const float* a, const float* b, float* d) {
  const int depth = depth_of(instruction);
  if (instruction == Instruction::kTf32)
    LAUNCH(tf32_kernel, 1, 32, 0, nullptr)(a, b, d);
  else if (instruction == Instruction::kBf16)
    LAUNCH((tile_kernel<bf16>), 1, 32, 0, nullptr)(a, b, d, depth, transposed);
  else
    LAUNCH((tile_kernel<f16>), 1, 32, 0, nullptr)(a, b, d, depth, transposed);
}

}  // namespace emulator_test
