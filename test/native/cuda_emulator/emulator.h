// Defines what kernels and their tests use of the emulator: options, launches, shared memory, barriers,
// warp instructions. Every CUDA thread is a fiber of the launching thread. Blocks run one after another,
// except those of a cooperative launch, which run together. README.md explains how to use it.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <type_traits>

namespace emulator {

using Site = std::source_location;

// Begins as the variables PIXELCNN_EMULATOR_… of README.md say.
struct Options {
  uint64_t seed = 0;  // 0: threads and blocks in order; others: a random order of this seed
  size_t memory_bytes = size_t{4} << 30;  // of the device
  int capability = 90;                    // 10 * major + minor
  int devices = 1;                        // or 0
  int failing_launch = 0;                 // the launch of this number from now fails for good; 0: none
  const char* fail_once = nullptr;        // but only if it can make this file; null: always
  int refused_capture_launch = 0;         // the launch of this number in every capture is refused; 0: none
  const char* refused_call = nullptr;  // the function of CUDA's that fails, as for want of memory; null: none
  int start_milliseconds = 0;          // that cudaGetDeviceCount takes, like the start of a driver
  bool truncating_sums = false;        // mma cuts its addends and its sum instead of rounding the sum
  const char* log = nullptr;           // a file that launches are appended to, a line each; null: none
  uint64_t deferred = 0;            // other than 0: streams do their work at random later times, of this seed
  uint64_t host_nanoseconds = 0;    // model time of the host for a launch or the launch of a graph
  uint64_t device_nanoseconds = 0;  // model time of the device for a kernel
};
extern Options options;

// Whether any loads and stores are checked.
bool checked();
// Streams and events that were created and not destroyed.
int live_handles();
// How messages call the block of device memory that begins here.
void name_memory(const void* memory, const char* name);

// ---- launches, for LAUNCH ----
struct LaunchShape {
  const char* kernel;
  dim3 grid, block;
  size_t shared_bytes;  // dynamic
  cudaStream_t stream;
  bool cooperative;
};
// Runs the grid, or records it where the stream captures. `thread` is called once per CUDA thread.
void submit(const LaunchShape& shape, const void* kernel, std::function<void()> thread);
void enter_kernel();
void leave_kernel();

template <class... Parameters>
auto launcher(void (*kernel)(Parameters...), const LaunchShape& shape) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...));
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "CUDA takes at most 4 KB of arguments");
  return [=](Parameters... arguments) {
    // What reads the arguments is not kernel code; every thread gets its own copy of them.
    submit(
        shape, reinterpret_cast<const void*>(kernel), [=]() __attribute__((no_sanitize("thread"))) {
          enter_kernel();
          kernel(arguments...);
          leave_kernel();
        });
  };
}

// ---- shared memory, for SHARED and DYNAMIC_SHARED ----
void* shared_array(const void* key, size_t bytes, const char* name);
void* dynamic_shared();

// ---- barriers and warp instructions ----
int block_barrier(int value, Site site);  // the number of threads that gave a non-zero value
void grid_barrier(Site site);
int lane();

struct Lane {
  const void* in;
  void* out;
  int argument;
};
using WarpWork = void (*)(Lane* lanes, uint32_t mask);
// Waits until all lanes of `mask` are in it at the same site; then `work` runs once for all of them.
void warp_instruction(const char* name, WarpWork work, uint32_t mask, Lane io, Site site);
void warp_barrier(uint32_t mask, Site site);

void exchange(Lane* lanes, uint32_t mask);  // out = in of lane `argument`
void gather(Lane* lanes, uint32_t mask);    // out = uint64_t[32], the in of every lane of the mask

template <class T>
T from_lane(const char* name, uint32_t mask, T value, int source, Site site) {
  static_assert(sizeof(T) <= 8);
  uint64_t in = 0, out = 0;
  std::memcpy(&in, &value, sizeof value);
  warp_instruction(name, exchange, mask, {&in, &out, source}, site);
  std::memcpy(&value, &out, sizeof value);
  return value;
}

template <class T, class Combine>
T reduce(const char* name, uint32_t mask, T value, Combine combine, Site site) {
  uint64_t in = 0, all[32];
  std::memcpy(&in, &value, sizeof value);
  warp_instruction(name, gather, mask, {&in, all, 0}, site);
  T result{};
  bool first = true;
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1) == 0) continue;
    T item;
    std::memcpy(&item, &all[i], sizeof item);
    result = first ? item : combine(result, item);
    first = false;
  }
  return result;
}

// ---- atomics ----
void check_atomic(void* memory, size_t bytes);
// Fibers change only inside the emulator, so that reading and writing here is one step.
template <class T, class Change>
__attribute__((no_sanitize("thread"), noinline)) T atomic(T* memory, Change change) {
  check_atomic(memory, sizeof(T));
  const T old = *memory;
  *memory = change(old);
  return old;
}

// ---- bodies of ptx.h ----
void mma_m16n8k16_bf16(float* d, const uint32_t* a, const uint32_t* b, Site site);
void mma_m16n8k16_f16(float* d, const uint32_t* a, const uint32_t* b, Site site);
void mma_m16n8k8_f16(float* d, uint32_t a0, uint32_t a1, uint32_t b, Site site);
void mma_m16n8k8_tf32(float* d, const uint32_t* a, const uint32_t* b, Site site);
void ldmatrix(uint32_t* d, int count, bool transposed, const void* row, Site site);
void copy_async(void* to, const void* from, size_t bytes, size_t valid);
void copy_commit();
void copy_wait(int pending);

}  // namespace emulator
