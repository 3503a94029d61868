// Declares the CPU backend's kernel table. Every file of kernels is compiled once per instruction set,
// inside namespace pixelcnn::cpu::PIXELCNN_ISA, and the backend takes the best table that the processor
// supports.
#pragma once
#include <cstddef>
#include <cstdint>

#include "../ops.h"

namespace pixelcnn::cpu {

// The version of the last bits of these kernels. Raise it with every change after which an op may give other
// bits from the same inputs: another order of sums, another place where a result is rounded, other tiles of
// Winograd, or another algorithm where kAuto chooses. Checkpoints record it, and a run that is resumed under
// another version says so (src/train/numerics.ts).
// 1: releases that did not record it. 2: other tiles of Winograd, other parts of its weight gradient, and
// draws that add up blocks of levels.
constexpr int kSumsVersion = 2;

class ThreadPool;

// What a kernel uses besides its operands: the threads, and scratch memory of the size that its
// `workspace` returned.
struct Context {
  ThreadPool& pool;
  std::byte* workspace;  // 64-byte aligned
};

struct Kernels {
  const char* isa;
  int64_t (*packed_bytes)(const FilterShape&, Direction);
#define PIXELCNN_X(Op)                               \
  int64_t (*workspace_##Op)(const Op&, int threads); \
  void (*run_##Op)(const Op&, Context&);
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

// Returns the float32 table of the named instruction set ("avx512", "avx2", "neon", "baseline"), or of the
// best available one for nullptr. Returns null if this processor or this build does not support it.
const Kernels* kernels(const char* isa);
// Returns the table whose activations are bf16 and that belongs to a float32 table: "avx512_bf16" to
// "avx512", "neon_bf16" to "neon". Returns null if there is none here.
const Kernels* bf16_kernels(const Kernels& f32);

}  // namespace pixelcnn::cpu

#ifdef PIXELCNN_ISA
namespace pixelcnn::cpu::PIXELCNN_ISA {
int64_t packed_bytes(const FilterShape& shape, Direction direction);
#define PIXELCNN_X(Op)                          \
  int64_t workspace(const Op& op, int threads); \
  void run(const Op& op, Context& context);
PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
extern const Kernels table;
}  // namespace pixelcnn::cpu::PIXELCNN_ISA
#endif
