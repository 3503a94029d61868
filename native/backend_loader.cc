// Opens the CPU backend, which is part of the addon, or loads another one from its shared library.
#include "backend_loader.h"

#include "cpu/backend.h"
#include "cuda_backend.h"
#include "error.h"

namespace pixelcnn {

std::shared_ptr<Backend> open_backend(const std::string& backend, int index, int threads,
                                      const std::string& instruction_set) {
  if (backend == "cpu") {
    PIXELCNN_CHECK(index == 0, "ERR_NO_DEVICE",
                   "the cpu backend has one device, index 0, got index " + std::to_string(index));
    return cpu::open_backend(threads, instruction_set);
  }
  PIXELCNN_CHECK(backend == "cuda", "ERR_BACKEND_UNAVAILABLE",
                 "unknown backend '" + backend + "': expected 'cpu' or 'cuda'");
  return open_cuda_backend(index);
}

}  // namespace pixelcnn
