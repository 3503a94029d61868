// Calls the functions of libpixelcnn_cuda.so and throws the errors that they report.
#include "cuda_backend.h"

#include <dlfcn.h>

#include <type_traits>
#include <utility>

#include "environment.h"
#include "error.h"

namespace pixelcnn {

namespace {

// Calls a function of the table whose last parameter is a status, and throws if the status is an error.
template <class Result, class... Parameters, class... Arguments>
Result call(Result (*function)(Parameters...), Arguments... arguments) {
  CudaStatus status{};
  const auto check = [&] {
    if (status.code[0] != '\0') throw Error(status.code, status.message, status.remedy);
  };
  if constexpr (std::is_void_v<Result>) {
    function(arguments..., &status);
    check();
  } else {
    const Result result = function(arguments..., &status);
    check();
    return result;
  }
}

class CudaProgramReplay final : public Replay {
 public:
  CudaProgramReplay(const CudaFunctions& functions, CudaDevice* device)
      : functions_(functions), device_(device), replay_(call(functions.create_replay, device)) {}
  ~CudaProgramReplay() override { functions_.release_replay(device_, replay_); }
  CudaReplay* get() const { return replay_; }

 private:
  const CudaFunctions& functions_;
  CudaDevice* device_;
  CudaReplay* replay_;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CudaFunctions& functions, int index) : functions_(functions) {
    CudaDeviceInfo device{};
    device_ = call(functions.open, int32_t{index}, &device);
    info_ = {"cuda", device.name,  "sm_" + std::to_string(device.compute_capability),
             1,      device.cudnn, functions.sums};
  }
  ~CudaBackend() override { functions_.destroy(device_); }

  const BackendInfo& info() const override { return info_; }
  bool supports(Precision precision) const override { return functions_.supports(device_, precision) != 0; }

  void* allocate(int64_t bytes) override { return call(functions_.allocate, device_, bytes); }
  void release(void* memory) override { functions_.release(device_, memory); }
  void write(void* device, const void* host, int64_t bytes) override {
    call(functions_.write, device_, device, host, bytes);
  }
  void read(void* host, const void* device, int64_t bytes) override {
    call(functions_.read, device_, host, device, bytes);
  }
  void reserve_workspace(int64_t bytes) override { call(functions_.reserve_workspace, device_, bytes); }
  void close() override { functions_.close(device_); }
  uint64_t fence() override { return call(functions_.fence, device_); }
  bool reached(uint64_t fence) override { return call(functions_.reached, device_, fence) != 0; }
  void wait(uint64_t fence) override { call(functions_.wait, device_, fence); }

  bool replay(std::unique_ptr<Replay>& state) override {
    return state != nullptr && call(functions_.replay, device_, replay_of(state)) != 0;
  }
  void begin_recording(std::unique_ptr<Replay>& state) override {
    if (state == nullptr) state = std::make_unique<CudaProgramReplay>(functions_, device_);
    call(functions_.begin_recording, device_, replay_of(state));
  }
  bool end_recording(std::unique_ptr<Replay>& state) override {
    return call(functions_.end_recording, device_, replay_of(state)) != 0;
  }
  bool cancel_recording(std::unique_ptr<Replay>& state, const std::string& error) override {
    return call(functions_.cancel_recording, device_, replay_of(state), error.c_str()) != 0;
  }
  std::string recording() const override {
    char text[1024] = "";
    functions_.recording(device_, text, sizeof text);
    return text;
  }
  std::string refusal(const std::unique_ptr<Replay>& state) const override {
    char text[1024] = "";
    if (state != nullptr) functions_.refusal(replay_of(state), text, sizeof text);
    return text;
  }

  int64_t packed_bytes(const FilterShape& shape, Direction direction) const override {
    return functions_.packed_bytes(&shape, direction);
  }
  bool packs_once() const override { return functions_.packs_once != 0; }
#define PIXELCNN_X(Op)                                                                               \
  int64_t workspace(const Op& op) override { return call(functions_.workspace_##Op, device_, &op); } \
  void run(const Op& op) override { call(functions_.run_##Op, device_, &op); }
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

 private:
  static CudaReplay* replay_of(const std::unique_ptr<Replay>& state) {
    return static_cast<CudaProgramReplay&>(*state).get();
  }

  const CudaFunctions& functions_;
  CudaDevice* device_ = nullptr;
  BackendInfo info_;
};

// Returns the folder that the addon lies in.
std::string own_folder() {
  Dl_info info{};
  static const int anchor = 0;
  if (dladdr(&anchor, &info) == 0 || info.dli_fname == nullptr) return ".";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// Never unloads the library, because CUDA does not survive being unloaded.
const CudaFunctions& load_library() {
  const std::string chosen = environment("PIXELCNN_CUDA_LIBRARY").value_or("");
  const std::string path = chosen.empty() ? own_folder() + "/libpixelcnn_cuda.so" : chosen;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const std::string reason = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps it per thread
    throw Error("ERR_BACKEND_UNAVAILABLE", "could not load the CUDA library: " + reason,
                "install a build of pixelcnn for Linux x64 that has it, or build it: npx pixelcnn build");
  }
  const auto entry = reinterpret_cast<CudaEntry>(dlsym(library, kCudaEntry));
  const CudaFunctions* functions = entry == nullptr ? nullptr : entry(kCudaAbi);
  PIXELCNN_CHECK(functions != nullptr, "ERR_BACKEND_UNAVAILABLE",
                 path + " was built for another version of pixelcnn");
  return *functions;
}

}  // namespace

std::shared_ptr<Backend> open_cuda_backend(int index) {
  return std::make_shared<CudaBackend>(load_library(), index);
}

CudnnReport report_cudnn() {
  CudnnReport report{};
  try {
    load_library().report_cudnn(&report);
  } catch (const Error& error) {
    error.code().copy(report.code, sizeof report.code - 1);
    std::string(error.what()).copy(report.message, sizeof report.message - 1);
    error.remedy().copy(report.remedy, sizeof report.remedy - 1);
  }
  return report;
}

}  // namespace pixelcnn
