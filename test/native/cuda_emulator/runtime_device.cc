// Emulates the device: its properties and its errors.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "device_properties.h"
#include "location.h"
#include "memory.h"
#include "runtime.h"

namespace emulator {

namespace {

uint64_t variable(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

Options from_environment() {
  Options o;
  o.seed = variable("PIXELCNN_EMULATOR_SEED", o.seed);
  o.memory_bytes = variable("PIXELCNN_EMULATOR_MEMORY", o.memory_bytes);
  o.capability = static_cast<int>(variable("PIXELCNN_EMULATOR_CAPABILITY", 90));
  o.devices = static_cast<int>(variable("PIXELCNN_EMULATOR_DEVICES", 1));
  o.failing_launch = static_cast<int>(variable("PIXELCNN_EMULATOR_FAIL_LAUNCH", 0));
  o.fail_once = std::getenv("PIXELCNN_EMULATOR_FAIL_ONCE");
  o.refused_capture_launch = static_cast<int>(variable("PIXELCNN_EMULATOR_REFUSE_CAPTURE", 0));
  o.start_milliseconds = static_cast<int>(variable("PIXELCNN_EMULATOR_START_MILLISECONDS", 0));
  o.truncating_sums = variable("PIXELCNN_EMULATOR_TRUNCATING_SUMS", 0) != 0;
  o.log = std::getenv("PIXELCNN_EMULATOR_LOG");
  o.deferred = variable("PIXELCNN_EMULATOR_DEFERRED", 0);
  o.host_nanoseconds = variable("PIXELCNN_EMULATOR_HOST_NANOSECONDS", 0);
  o.device_nanoseconds = variable("PIXELCNN_EMULATOR_DEVICE_NANOSECONDS", 0);
  return o;
}

struct StatusText {
  cudaError_t status;
  const char *name, *text;
};
constexpr StatusText kTexts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState",
     "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorAssert, "cudaErrorAssert", "device-side assert triggered"},
    {cudaErrorHardwareStackError, "cudaErrorHardwareStackError", "hardware stack error"},
    {cudaErrorIllegalInstruction, "cudaErrorIllegalInstruction", "an illegal instruction was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorInvalidAddressSpace, "cudaErrorInvalidAddressSpace",
     "operation not supported on global/shared address space"},
    {cudaErrorInvalidPc, "cudaErrorInvalidPc", "invalid program counter"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

const StatusText& text_of(cudaError_t status) {
  for (const StatusText& text : kTexts) {
    if (text.status == status) return text;
  }
  return kTexts[1];
}

}  // namespace

Options options = from_environment();
constinit thread_local cudaError_t last_error = cudaSuccess;

Runtime& runtime() {
  static Runtime* const instance = std::make_unique<Runtime>().release();
  return *instance;
}

cudaError_t refuse(cudaError_t status, const std::string& explanation) {
  runtime().told = true;
  runtime().explained = status;
  runtime().explanation = std::string(text_of(status).text) + ": " + explanation;
  return status;
}

cudaError_t lose_device(cudaError_t status, const std::string& explanation) {
  runtime().sticky = status;
  return refuse(status, explanation);
}

void host_access(const void* memory, const void* code) {
  std::lock_guard lock(runtime().mutex);
  if (runtime().sticky != cudaSuccess) return;
  const Region* const region = find_region(memory);
  const std::string name = region != nullptr ? region->name : "memory that is not allocated";
  last_error = lose_device(cudaErrorIllegalAddress,
                           "host code uses device memory, " + name + ", at " + place(code_offset(code)));
}

size_t shared_bytes_with_permission() {
  switch (options.capability) {
    case 75:
      return 64 << 10;
    case 80:
      return 163 << 10;
    case 86:
    case 89:
    case 120:
      return 99 << 10;
    default:
      return 227 << 10;
  }
}

}  // namespace emulator

using emulator::call;
using emulator::InCapture;
using emulator::options;
using emulator::refuse;

cudaError_t cudaGetLastError() {
  std::lock_guard lock(emulator::runtime().mutex);
  const cudaError_t last = std::exchange(emulator::last_error, cudaSuccess);
  const cudaError_t sticky = emulator::runtime().sticky;
  return sticky != cudaSuccess ? sticky : last;
}

const char* cudaGetErrorString(cudaError_t status) {
  std::lock_guard lock(emulator::runtime().mutex);
  const auto& state = emulator::runtime();
  return status != cudaSuccess && status == state.explained ? state.explanation.c_str()
                                                            : emulator::text_of(status).text;
}

const char* cudaGetErrorName(cudaError_t status) { return emulator::text_of(status).name; }

cudaError_t cudaDriverGetVersion(int* version) {
  return call(__func__, InCapture::kAllowed, [&] {
    *version = CUDART_VERSION;
    return cudaSuccess;
  });
}

cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaGetDeviceCount(int* count) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(options.start_milliseconds));
    *count = options.devices;
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
  });
}

namespace {
thread_local int current_device = 0;
}  // namespace

cudaError_t cudaSetDevice(int device) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (device < 0 || device >= options.devices) return cudaErrorInvalidDevice;
    current_device = device;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call(__func__, InCapture::kAllowed, [&] {
    *device = current_device;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (device < 0 || device >= options.devices) return cudaErrorInvalidDevice;
    if (attribute != cudaDevAttrMaxSharedMemoryPerMultiprocessor) return cudaErrorInvalidValue;
    // CUDA keeps 1 KB of it per block for itself.
    *value = static_cast<int>(emulator::shared_bytes_with_permission() + 1024);
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (device < 0 || device >= options.devices) return cudaErrorInvalidDevice;
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "CUDA emulator");
    properties->totalGlobalMem = options.memory_bytes;
    properties->major = options.capability / 10;
    properties->minor = options.capability % 10;
    properties->multiProcessorCount = emulator::kMultiprocessors;
    properties->sharedMemPerBlock = emulator::kSharedBytes;
    properties->sharedMemPerBlockOptin = emulator::shared_bytes_with_permission();
    properties->maxThreadsPerBlock = 1024;
    properties->warpSize = 32;
    properties->l2CacheSize = 4 << 20;
    return cudaSuccess;
  });
}
