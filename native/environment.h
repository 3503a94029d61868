// Reads environment variables.
#pragma once
#include <cstdlib>
#include <optional>
#include <string>

namespace pixelcnn {

// Returns the variable's value, if it is set. Static, because both the addon and the CUDA library compile
// it.
static inline std::optional<std::string> environment(const char* name) {
  // It is read on the executor's thread while a device opens. As with DNS look-ups, the process should not
  // set variables at the same time.
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  if (value == nullptr) return std::nullopt;
  return value;
}

}  // namespace pixelcnn
