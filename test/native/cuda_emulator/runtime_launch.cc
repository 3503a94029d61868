// Launches kernels, after refusing what CUDA refuses at once.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "device_properties.h"
#include "grid.h"
#include "runtime.h"
#include "stream.h"

namespace emulator {

namespace {

// A program of many processes has one failure where a file is to be made by whoever fails.
bool failure_is_ours() {
  if (options.fail_once == nullptr) return true;
  const int file = open(options.fail_once, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

cudaError_t run_launch(const LaunchShape& shape, const std::function<void()>& thread) {
  if (options.failing_launch > 0 && --options.failing_launch == 0 && failure_is_ours()) {
    return lose_device(cudaErrorLaunchFailure, std::string(shape.kernel) + ": failed as told to");
  }
  const std::string error = run_grid(shape, thread);
  if (error.empty()) return cudaSuccess;
  return lose_device(cudaErrorLaunchFailure, std::string(shape.kernel) + " (schedule " +
                                                 std::to_string(options.seed) + "): " + error);
}

cudaError_t check_shape(const LaunchShape& shape, const void* kernel) {
  const auto [grid, block] = std::pair(shape.grid, shape.block);
  const size_t threads = size_t{block.x} * block.y * block.z;
  const bool grid_fits = grid.x != 0 && grid.y != 0 && grid.z != 0 && grid.x <= 0x7fffffffu &&
                         grid.y <= 65535 && grid.z <= 65535;
  if (!grid_fits || threads == 0 || threads > 1024 || block.z > 64) {
    return refuse(cudaErrorInvalidConfiguration, std::string(shape.kernel) + ": a grid of " +
                                                     std::to_string(grid.x) + " x " + std::to_string(grid.y) +
                                                     " x " + std::to_string(grid.z) + " blocks of " +
                                                     std::to_string(threads) + " threads");
  }
  const auto permission = runtime().shared_bytes.find(kernel);
  const size_t most = permission != runtime().shared_bytes.end() ? permission->second : kSharedBytes;
  if (shape.shared_bytes > most) {
    return refuse(cudaErrorInvalidValue,
                  std::string(shape.kernel) + ": " + std::to_string(shape.shared_bytes) +
                      " bytes of dynamic shared memory, allowed are " + std::to_string(most));
  }
  return cudaSuccess;
}

}  // namespace

void log_launch(const std::string& line) {
  if (options.log == nullptr) return;
  std::ofstream(options.log, std::ios::app) << line << '\n';
}

void submit(const LaunchShape& shape, const void* kernel, std::function<void()> thread) {
  if (running != nullptr) {
    InEmulator mark;
    fail(std::string(shape.kernel) + " is launched by a kernel");
  }
  call("launch", InCapture::kAllowed, [&] {
    const cudaError_t status = check_shape(shape, kernel);
    if (status != cudaSuccess) return status;
    take_time(shape.stream, 1);
    if (!captures(shape.stream)) log_launch(shape.kernel);
    return enqueue(shape.stream,
                   {{[shape, thread = std::move(thread)] { return run_launch(shape, thread); }, true}});
  });
}

}  // namespace emulator

using emulator::call;
using emulator::InCapture;
using emulator::refuse;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int bytes) {
  return call(__func__, InCapture::kAllowed, [&] {
    // A share in percent of what a multiprocessor has, or -1 for what the driver thinks best.
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout)
      return bytes >= -1 && bytes <= 100 ? cudaSuccess : cudaErrorInvalidValue;
    if (bytes < 0 || static_cast<size_t>(bytes) > emulator::shared_bytes_with_permission()) {
      return refuse(cudaErrorInvalidValue, std::to_string(bytes) +
                                               " bytes of dynamic shared memory, the device has " +
                                               std::to_string(emulator::shared_bytes_with_permission()));
    }
    emulator::runtime().shared_bytes[kernel] = static_cast<size_t>(bytes);
    return cudaSuccess;
  });
}
