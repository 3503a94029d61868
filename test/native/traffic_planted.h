// Declares small ops with known traffic in scratch memory, which show that traffic_test counts it.
#pragma once
#include <cstdint>

namespace pixelcnn::cpu {
class ThreadPool;
}

namespace pixelcnn::test {

inline constexpr int64_t kPlantedTasks = 37, kPlantedFloats = 64;  // the floats of one task

// How a planted op reads and writes its scratch memory: every way in which a kernel does.
enum class Access { kFloats, kDoubles, kVectors, kPartialVectors, kMemoryFunctions };
inline constexpr Access kAccesses[] = {Access::kFloats, Access::kDoubles, Access::kVectors,
                                       Access::kPartialVectors, Access::kMemoryFunctions};

// In one loop each task writes kPlantedFloats to `scratch`, and in a second loop the task of the same number
// reads them and writes them to `out`. A third loop has nothing to do with scratch memory.
void hand_over(Access access, float* scratch, float* out, cpu::ThreadPool& pool);

// Each task writes kPlantedFloats to the scratch memory of its thread, reads them and writes their sum
// behind the scratch memory of all threads. After the loop the sums are added up.
float keep_with_thread(Access access, float* scratch, cpu::ThreadPool& pool);

}  // namespace pixelcnn::test
