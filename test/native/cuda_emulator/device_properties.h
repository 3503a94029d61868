// Defines the properties that the emulated device reports.
#pragma once
#include <cstddef>

namespace emulator {

constexpr int kMultiprocessors = 4;
constexpr size_t kSharedBytes = 48 << 10;  // of a block, without permission for more

// The most that a block may use in all, by the device's compute capability.
size_t shared_bytes_with_permission();

}  // namespace emulator
