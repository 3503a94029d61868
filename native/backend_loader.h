// Opens a backend by name, or says why it cannot.
#pragma once
#include <memory>
#include <string>

#include "backend.h"

namespace pixelcnn {

// backend: "cpu" or "cuda". threads: 0 for as many as this process may use. instruction_set: "" for the best
// one. Throws ERR_BACKEND_UNAVAILABLE.
std::shared_ptr<Backend> open_backend(const std::string& backend, int index, int threads,
                                      const std::string& instruction_set);

}  // namespace pixelcnn
