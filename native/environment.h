// Environment variables.
#pragma once
#include <cstdlib>
#include <optional>
#include <string>

namespace pixelcnn {

// The variable's value. Internal linkage: both the addon and the CUDA library have it.
static inline std::optional<std::string> environment(const char* name) {
  // Read while a device opens, on its thread: as for the driver and for DNS look-ups, a process should not
  // set variables meanwhile.
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  if (value == nullptr) return std::nullopt;
  return value;
}

}  // namespace pixelcnn
