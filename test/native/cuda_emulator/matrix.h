// Multiplies single tiles with every tensor-core instruction, for the emulator's test.
#pragma once
#include "../../../cuda/gpu.h"

namespace emulator_test {

enum class Instruction { kBf16, kF16, kF16Depth8, kTf32 };
constexpr int depth_of(Instruction instruction) {
  return instruction == Instruction::kBf16 || instruction == Instruction::kF16 ? 16 : 8;
}

// d (16, 8) = a (16, depth) times b (depth, 8), rounded to the instruction's format. 16-bit fragments come
// from ldmatrix: of a and b as they are, or of their transposes.
void multiply_tile(Instruction instruction, bool transposed, const float* a, const float* b, float* d);

}  // namespace emulator_test
