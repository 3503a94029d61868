// What kernels see of the emulator: indices, barriers, warp instructions, atomics, launches. Every CUDA
// thread is a fiber of the launching thread; blocks run one after another. Included through gpu.h.
//
// A test of kernels, plain and checked (bounds, races, uninitialised reads, with file:line), with K for the
// .cu files and E = test/native/cuda_emulator:
//   g++ -std=c++20 -O2 -g1 -IE -c E/*.cc
//   g++ -std=c++20 -O2 -g1 -IE -Wno-unknown-pragmas -ftrivial-auto-var-init=pattern [checked:
//   -fsanitize=thread
//       --param tsan-instrument-func-entry-exit=0] -x c++ -c K         and the test itself; then link without
//       -fsanitize
// Launches never throw: cudaGetLastError gives a sticky error, its text has what happened and where;
// cudaDeviceReset clears it. emulator::options.seed: 0 runs fibers in order, others are random schedules.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

inline uint3 threadIdx, blockIdx;  // set whenever a fiber resumes
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulator {

using Site = std::source_location;

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Options {
  uint64_t seed = 0;  // 0: fibers and blocks in order; otherwise a random order drawn from this seed
  unsigned shared_limit = 99 * 1024;
};
inline Options options;

// ---- launching
// -------------------------------------------------------------------------------------------------
struct Launch {
  const char* kernel;
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
  bool cooperative;
};
void run(const Launch& launch, void (*thread)(const void*), const void* context, size_t context_bytes);

template <class... P>
struct Call {  // every thread gets its own copy of the arguments
  Launch launch;
  void (*kernel)(P...);
  std::tuple<P...> arguments;
  static void thread(const void* context) {
    auto& call = *static_cast<const Call*>(context);
    std::apply(call.kernel, call.arguments);
  }
};
template <class... P>
auto launcher(void (*kernel)(P...), const Launch& launch) {
  return [=](P... arguments) {
    Call<P...> call{launch, kernel, {arguments...}};
    run(launch, call.thread, &call, sizeof call);
  };
}

// ---- memory
// ---------------------------------------------------------------------------------------------------- Device
// memory has guard bytes on both sides and starts poisoned (0xFF: NaN as float, half or bfloat16).
void* allocate(size_t bytes, size_t element, const char* name);
void release(void* memory);
void set_initialised(void* memory, size_t bytes);
size_t first_unwritten(const void* memory,
                       size_t bytes);  // == bytes when all were written (checked build only)
void check_guards();
void* shared_array(const void* key, size_t bytes, const char* name);
void* dynamic_shared();
enum class Access { read, write, atomic };
void touch(const void* memory, size_t bytes, Access access,
           const void* pc);  // bounds, race and initialisation checks
bool checked_build();
void set_checked();

// ---- barriers and warp collectives
// -----------------------------------------------------------------------------
int block_barrier(int value, Site site);  // returns how many threads gave a non-zero value
void grid_barrier(Site site);
void warp_barrier(uint32_t mask, Site site);
int lane();
[[noreturn]] void fail(const std::string& message);

struct Lane {
  const void* in;
  void* out;
  int argument;
};
using Work = void (*)(Lane* lanes, uint32_t mask);
// Waits until all lanes of `mask` call it with the same work, mask and site; then `work` runs once for the
// warp.
void collective(const char* what, Work work, uint32_t mask, Lane io, Site site);

void exchange(Lane* lanes, uint32_t mask);  // out = in of lane `argument`
void gather(Lane* lanes, uint32_t mask);    // out = uint64_t[32] with in of every lane of the mask

template <class T>
T from_lane(const char* what, uint32_t mask, T value, int source, Site site) {
  static_assert(sizeof(T) <= 8);
  uint64_t in = 0, out = 0;
  std::memcpy(&in, &value, sizeof value);
  collective(what, exchange, mask, {&in, &out, source}, site);
  std::memcpy(&value, &out, sizeof value);
  return value;
}
template <class T, class Fold>
T fold(const char* what, uint32_t mask, T value, Fold combine, Site site) {
  uint64_t in = 0, all[32];
  std::memcpy(&in, &value, sizeof value);
  collective(what, gather, mask, {&in, all, 0}, site);
  T result{};
  bool first = true;
  for (int i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    T item;
    std::memcpy(&item, &all[i], sizeof item);
    result = first ? item : combine(result, item);
    first = false;
  }
  return result;
}

// ---- bodies of the functions in ptx.h
// --------------------------------------------------------------------------
void mma_m16n8k16_bf16(float* d, const uint32_t* a, const uint32_t* b, Site site);  // m16n8k16, d += a b
void mma_m16n8k16_f16(float* d, const uint32_t* a, const uint32_t* b, Site site);   // m16n8k16
void mma_m16n8k8_tf32(float* d, const uint32_t* a, const uint32_t* b, Site site);   // m16n8k8
void mma_m16n8k8_f16(float* d, uint32_t a0, uint32_t a1, uint32_t b, Site site);
void ldmatrix(uint32_t* d, int count, bool transpose, const void* row, Site site);
void copy_async(void* to, const void* from, size_t bytes, size_t valid);
void copy_commit();
void copy_wait(int pending);

}  // namespace emulator

// ---- CUDA built-ins
// --------------------------------------------------------------------------------------------
inline void __syncthreads(emulator::Site site = emulator::Site::current()) {
  emulator::block_barrier(0, site);
}
inline int __syncthreads_count(int value, emulator::Site site = emulator::Site::current()) {
  return emulator::block_barrier(value, site);
}
inline int __syncthreads_or(int value, emulator::Site site = emulator::Site::current()) {
  return emulator::block_barrier(value, site) != 0;
}
inline int __syncthreads_and(int value, emulator::Site site = emulator::Site::current()) {
  return emulator::block_barrier(!value, site) == 0;
}
inline void __syncwarp(uint32_t mask = ~0u, emulator::Site site = emulator::Site::current()) {
  emulator::warp_barrier(mask, site);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(uint32_t mask, T value, int source, int width = 32,
              emulator::Site site = emulator::Site::current()) {
  int first = emulator::lane() & ~(width - 1);
  return emulator::from_lane("__shfl_sync", mask, value, first + (source & (width - 1)), site);
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32,
                  emulator::Site site = emulator::Site::current()) {
  int source = emulator::lane() ^ bits, last = emulator::lane() | (width - 1);
  return emulator::from_lane("__shfl_xor_sync", mask, value, source <= last ? source : emulator::lane(),
                             site);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                 emulator::Site site = emulator::Site::current()) {
  int first = emulator::lane() & ~(width - 1), source = emulator::lane() - int(delta);
  return emulator::from_lane("__shfl_up_sync", mask, value, source >= first ? source : emulator::lane(),
                             site);
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32,
                   emulator::Site site = emulator::Site::current()) {
  int last = emulator::lane() | (width - 1), source = emulator::lane() + int(delta);
  return emulator::from_lane("__shfl_down_sync", mask, value, source <= last ? source : emulator::lane(),
                             site);
}
inline unsigned __ballot_sync(uint32_t mask, int predicate, emulator::Site site = emulator::Site::current()) {
  return emulator::fold(
      "__ballot_sync", mask, predicate ? 1u << emulator::lane() : 0u,
      [](unsigned a, unsigned b) { return a | b; }, site);
}
inline int __any_sync(uint32_t mask, int p, emulator::Site site = emulator::Site::current()) {
  return __ballot_sync(mask, p, site) != 0;
}
inline int __all_sync(uint32_t mask, int p, emulator::Site site = emulator::Site::current()) {
  return __ballot_sync(mask, p, site) == mask;
}
inline unsigned __reduce_add_sync(uint32_t mask, unsigned v,
                                  emulator::Site site = emulator::Site::current()) {
  return emulator::fold(
      "__reduce_add_sync", mask, v, [](unsigned a, unsigned b) { return a + b; }, site);
}
inline unsigned __reduce_max_sync(uint32_t mask, unsigned v,
                                  emulator::Site site = emulator::Site::current()) {
  return emulator::fold(
      "__reduce_max_sync", mask, v, [](unsigned a, unsigned b) { return a > b ? a : b; }, site);
}
inline unsigned __reduce_min_sync(uint32_t mask, unsigned v,
                                  emulator::Site site = emulator::Site::current()) {
  return emulator::fold(
      "__reduce_min_sync", mask, v, [](unsigned a, unsigned b) { return a < b ? a : b; }, site);
}

namespace emulator {  // fibers switch only inside emulator calls, so a plain read-modify-write is atomic
template <class T, class F>
__attribute__((no_sanitize("thread"), noinline)) T atomic(T* p, F change) {
  touch(p, sizeof(T), Access::atomic, __builtin_return_address(0));
  T old = *p;
  *p = change(old);
  return old;
}
}  // namespace emulator
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  return emulator::atomic(p, [v](T old) { return T(old + v); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return emulator::atomic(p, [v](T old) { return std::max(old, v); });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return emulator::atomic(p, [v](T old) { return std::min(old, v); });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return emulator::atomic(p, [v](T) { return v; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return emulator::atomic(p, [=](T old) { return old == expected ? v : old; });
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __clz(unsigned v) { return std::countl_zero(v); }
inline int __ffs(unsigned v) { return v ? std::countr_zero(v) + 1 : 0; }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __expf(float v) { return std::exp(v); }
inline float __logf(float v) { return std::log(v); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float v) { return 1 / std::sqrt(v); }
using std::max;
using std::min;

namespace pixelcnn::cuda {
// Waits for all threads of a cooperative launch.
inline void grid_sync(emulator::Site site = emulator::Site::current()) { emulator::grid_barrier(site); }
}  // namespace pixelcnn::cuda
