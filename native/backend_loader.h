// Opens a backend by its name.
#pragma once
#include <memory>
#include <string>

#include "backend.h"

namespace pixelcnn {

// `backend` is "cpu" or "cuda". `threads` 0 means as many as this process may use. `instruction_set` ""
// means the best one available. Throws ERR_BACKEND_UNAVAILABLE.
std::shared_ptr<Backend> open_backend(const std::string& backend, int index, int threads,
                                      const std::string& instruction_set);

}  // namespace pixelcnn
