// Implements the planted ops. This file is compiled as the kernels are, with their instrumentation.
#include "traffic_planted.h"

#include <cstring>

#include "../../native/cpu/simd.h"
#include "../../native/cpu/thread_pool.h"

namespace pixelcnn::test {

using namespace cpu::PIXELCNN_ISA;

namespace {

void write(Access access, float value, float* to) {
  switch (access) {
    case Access::kFloats:
      for (int64_t i = 0; i < kPlantedFloats; ++i) to[i] = value;
      return;
    case Access::kDoubles:
      for (int64_t i = 0; i < kPlantedFloats / 2; ++i) reinterpret_cast<double*>(to)[i] = value;
      return;
    case Access::kVectors:
      for (int64_t i = 0; i < kPlantedFloats; i += kLanes) store(to + i, splat(value));
      return;
    case Access::kPartialVectors:
      for (int64_t i = 0; i < kPlantedFloats; ++i) store_partial(to + i, splat(value), 1);
      return;
    case Access::kMemoryFunctions:
      std::memset(to, 0, sizeof(float) * kPlantedFloats);
      return;
  }
}

void read(Access access, const float* from, float* to) {
  switch (access) {
    case Access::kFloats:
      for (int64_t i = 0; i < kPlantedFloats; ++i) to[i] = from[i];
      return;
    case Access::kDoubles:
      for (int64_t i = 0; i < kPlantedFloats / 2; ++i)
        reinterpret_cast<double*>(to)[i] = reinterpret_cast<const double*>(from)[i];
      return;
    case Access::kVectors:
      for (int64_t i = 0; i < kPlantedFloats; i += kLanes) store(to + i, load(from + i));
      return;
    case Access::kPartialVectors:
      for (int64_t i = 0; i < kPlantedFloats; ++i) store_partial(to + i, load_partial(from + i, 1), 1);
      return;
    case Access::kMemoryFunctions:
      std::memcpy(to, from, sizeof(float) * kPlantedFloats);
      return;
  }
}

}  // namespace

void hand_over(Access access, float* scratch, float* out, cpu::ThreadPool& pool) {
  pool.run(kPlantedTasks, [&](int64_t task, int) {
    write(access, static_cast<float>(task), scratch + task * kPlantedFloats);
  });
  pool.run(kPlantedTasks, [&](int64_t task, int) {
    read(access, scratch + task * kPlantedFloats, out + task * kPlantedFloats);
  });
  pool.run(kPlantedTasks, [&](int64_t task, int) { out[task * kPlantedFloats] += 1; });
}

float keep_with_thread(Access access, float* scratch, cpu::ThreadPool& pool) {
  float* sums = scratch + pool.threads() * kPlantedFloats;
  pool.run(kPlantedTasks, [&](int64_t task, int thread) {
    float* own = scratch + thread * kPlantedFloats;
    alignas(64) float values[kPlantedFloats];
    write(access, static_cast<float>(task), own);
    read(access, own, values);
    float sum = 0;
    for (float value : values) sum += value;
    sums[task] = sum;
  });
  float sum = 0;
  for (int64_t task = 0; task < kPlantedTasks; ++task) sum += sums[task];
  return sum;
}

}  // namespace pixelcnn::test
