// Imitates cuDNN for tests of the loader: it has cuDNN's functions and none of its abilities. FAKE_CUDNN in
// the environment says how it behaves: "abort", "crash" or "hang" on the first call, "driver" (it needs a
// driver that works, and aborts without), "old"; else it works, up to a point. FAKE_LOG is a file to which
// the first call in each process adds a line: "cudnn PID".
#include <cudnn_graph.h>
#include <dlfcn.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool behaves(const char* how) {
  const char* value = std::getenv("FAKE_CUDNN");
  return value != nullptr && std::strcmp(value, how) == 0;
}

void log() {
  static pid_t logged = 0;
  const char* path = std::getenv("FAKE_LOG");
  if (path == nullptr || logged == getpid()) return;
  logged = getpid();
  std::FILE* file = std::fopen(path, "a");
  if (file == nullptr) return;
  std::fprintf(file, "cudnn %d\n", static_cast<int>(getpid()));
  std::fclose(file);
}

bool driver_works() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY);
  if (driver == nullptr) return false;
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  return init != nullptr && init(0) == 0;
}

}  // namespace

extern "C" {

size_t cudnnGetCudartVersion() {
  log();
  if (behaves("hang")) pause();
  if (behaves("driver") && !driver_works()) {
    std::fprintf(stderr, "the driver is not initialised\n");
    std::abort();
  }
  if (behaves("abort")) {
    std::fprintf(stderr, "Invalid handle. Cannot load symbol cudnnGetCudartVersion\n");
    std::abort();
  }
  if (behaves("crash")) std::raise(SIGSEGV);
  return 13000;
}
size_t cudnnGetVersion() { return behaves("old") ? 90100 : 92400; }
const char* cudnnGetErrorString(cudnnStatus_t) { return "fake"; }
void cudnnGetLastErrorString(char* text, size_t size) {
  if (size > 0) *text = '\0';
}
cudnnStatus_t cudnnCreate(cudnnHandle_t*) { return CUDNN_STATUS_NOT_INITIALIZED; }
cudnnStatus_t cudnnDestroy(cudnnHandle_t) { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnSetStream(cudnnHandle_t, cudaStream_t) { return CUDNN_STATUS_NOT_INITIALIZED; }
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t*) {
  return CUDNN_STATUS_NOT_INITIALIZED;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t) { return CUDNN_STATUS_SUCCESS; }
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t,
                                       cudnnBackendAttributeType_t, int64_t, const void*) {
  return CUDNN_STATUS_NOT_INITIALIZED;
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t,
                                       cudnnBackendAttributeType_t, int64_t, int64_t*, void*) {
  return CUDNN_STATUS_NOT_INITIALIZED;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t) { return CUDNN_STATUS_NOT_INITIALIZED; }
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  return CUDNN_STATUS_NOT_INITIALIZED;
}

}  // extern "C"
