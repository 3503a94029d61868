// Replaces the driver libcuda.so.1: every call returns CUDA_ERROR_NO_DEVICE (100). cuDNN compiles plans at
// run time only if it can open a driver; with this one it does so on machines without a GPU.
//
// FAKE_DRIVER in the environment makes it a driver with a GPU: "works", or "hangs" in a forked child. As the
// real one it remembers the process that called cuInit: in a child of that, every call answers 3,
// CUDA_ERROR_NOT_INITIALIZED. FAKE_LOG is a file to which each cuInit adds a line: "cuInit PID".
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kNotInitialized = 3, kNoDevice = 100;
pid_t initialised_by = 0;

bool behaves(const char* how) {
  const char* value = std::getenv("FAKE_DRIVER");
  return value != nullptr && std::strcmp(value, how) == 0;
}

void log(const char* call) {
  const char* path = std::getenv("FAKE_LOG");
  std::FILE* file = path == nullptr ? nullptr : std::fopen(path, "a");
  if (file == nullptr) return;
  std::fprintf(file, "%s %d\n", call, static_cast<int>(getpid()));
  std::fclose(file);
}

}  // namespace

extern "C" {

int cuInit(unsigned flags) {
  log("cuInit");
  if (initialised_by != 0 && initialised_by != getpid()) {
    if (behaves("hangs")) pause();
    return kNotInitialized;
  }
  if (!behaves("works") && !behaves("hangs")) return flags == 0 ? kNoDevice : 1;
  initialised_by = getpid();
  return 0;
}
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
int cuDeviceGetCount(int* count) {
  *count = initialised_by == getpid() ? 1 : 0;
  if (!behaves("works") && !behaves("hangs")) return kNoDevice;
  return initialised_by == getpid() ? 0 : kNotInitialized;
}
int cuGetErrorString(int error, const char** text) {
  *text = error == 100 ? "no device" : "unknown";
  return 0;
}
int cuGetErrorName(int error, const char** name) { return cuGetErrorString(error, name); }

// What else cuDNN looks up.
#define NO_DEVICE(function) \
  int function() { return 100; }
NO_DEVICE(cuCtxGetCurrent)
NO_DEVICE(cuCtxGetDevice)
NO_DEVICE(cuCtxGetLimit)
NO_DEVICE(cuCtxPopCurrent)
NO_DEVICE(cuCtxPopCurrent_v2)
NO_DEVICE(cuCtxPushCurrent)
NO_DEVICE(cuCtxPushCurrent_v2)
NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDeviceGetAttribute)
NO_DEVICE(cuDevicePrimaryCtxRelease)
NO_DEVICE(cuDevicePrimaryCtxReset)
NO_DEVICE(cuDevicePrimaryCtxRetain)
NO_DEVICE(cuFuncGetAttribute)
NO_DEVICE(cuFuncSetAttribute)
NO_DEVICE(cuKernelGetAttribute)
NO_DEVICE(cuKernelSetAttribute)
NO_DEVICE(cuLaunchCooperativeKernel)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuLaunchKernelEx)
NO_DEVICE(cuLibraryGetKernel)
NO_DEVICE(cuLibraryLoadData)
NO_DEVICE(cuLibraryLoadFromFile)
NO_DEVICE(cuLibraryUnload)
NO_DEVICE(cuLinkAddData)
NO_DEVICE(cuLinkAddData_v2)
NO_DEVICE(cuLinkAddFile_v2)
NO_DEVICE(cuLinkComplete)
NO_DEVICE(cuLinkCreate)
NO_DEVICE(cuLinkCreate_v2)
NO_DEVICE(cuLinkDestroy)
NO_DEVICE(cuMemcpyDtoH_v2)
NO_DEVICE(cuModuleGetFunction)
NO_DEVICE(cuModuleGetGlobal_v2)
NO_DEVICE(cuModuleLoadData)
NO_DEVICE(cuModuleLoadDataEx)
NO_DEVICE(cuModuleLoadFatBinary)
NO_DEVICE(cuModuleUnload)
NO_DEVICE(cuOccupancyMaxActiveBlocksPerMultiprocessor)
NO_DEVICE(cuOccupancyMaxPotentialClusterSize)
NO_DEVICE(cuStreamGetCtx)
NO_DEVICE(cuStreamSynchronize)
NO_DEVICE(cuTensorMapEncodeTiled)

// The same by name.
int cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long flags,
                        int* found) {
  const bool known = std::strcmp(name, "cuDriverGetVersion") == 0;
  *function = known ? reinterpret_cast<void*>(cuDriverGetVersion) : reinterpret_cast<void*>(cuCtxGetCurrent);
  if (found != nullptr) *found = version < 0 || flags > 7;
  return 0;
}
int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}

}  // extern "C"
