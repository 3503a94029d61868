// Measures how many fused multiply-adds the processor can do in registers on all given threads: peak
// [threads=2]. Prints GF/s, the best of several short runs; scripts/bench/bench.mjs reports kernel rates
// as a share of it.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr int kSums = 16;  // independent, so that latency does not limit
constexpr int64_t kRounds = 2'000'000;

template <class Vector>
__attribute__((always_inline)) inline float multiply_add() {
  Vector sum[kSums];
  for (int i = 0; i < kSums; ++i) sum[i] = Vector{} + static_cast<float>(i);
  Vector a = Vector{} + 0.999f, b = Vector{} + 0.001f;
  // The compiler must not know the factors, or it would compute the result.
  asm volatile("" : "+m"(a), "+m"(b));
  for (int64_t round = 0; round < kRounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < kSums; ++i) sum[i] = sum[i] * a + b;
  }
  float result = 0;
  for (const Vector& part : sum) result += part[0];
  return result;
}

typedef float Vector4 __attribute__((vector_size(16)));
#if defined(__x86_64__)
typedef float Vector8 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(64)));
__attribute__((target("avx512f,fma"))) float run_avx512() { return multiply_add<Vector16>(); }
__attribute__((target("avx2,fma"))) float run_avx2() { return multiply_add<Vector8>(); }
#endif
float run_baseline() { return multiply_add<Vector4>(); }

struct Choice {
  float (*run)();
  int lanes;
};

Choice choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {run_avx512, 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {run_avx2, 8};
#endif
  return {run_baseline, 4};
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const Choice choice = choose();
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    std::vector<float> results(static_cast<size_t>(threads));
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> pool;
    for (float& result : results) pool.emplace_back([&result, &choice] { result = choice.run(); });
    for (std::thread& thread : pool) thread.join();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    const double operations = 2.0 * kSums * static_cast<double>(kRounds) * choice.lanes * threads;
    best = results[0] > -1 && operations / time.count() > best ? operations / time.count() : best;
  }
  std::printf("%.1f\n", best * 1e-9);
  return 0;
}
