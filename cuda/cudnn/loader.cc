// Tries the cuDNN libraries of this machine, each in its own process, and opens the first one that works.
#include "loader.h"

#include <dlfcn.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <system_error>

#include "../../native/environment.h"
#include "engines.h"
#include "places.h"
#include "probe.h"

namespace pixelcnn::cuda {
namespace {

// cuDNN is searched for once per process, and an opened library stays open. Never destroyed, because
// threads may outlive static destructors.
struct ProcessState {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const CudnnLibrary>> found;  // by folder
  std::map<std::string, CudnnApi> opened;                            // by path
};
ProcessState& process() {
  static ProcessState& state = *std::make_unique<ProcessState>().release();
  return state;
}

namespace fs = std::filesystem;

// This library only forwards calls to the others.
constexpr const char* kShim = "libcudnn.so.9";
// The libraries that convolutions need besides the shim. Others that lie beside them are opened too.
constexpr const char* kNeeded[] = {"libcudnn_graph.so.9", "libcudnn_engines_precompiled.so.9",
                                   "libcudnn_engines_runtime_compiled.so.9", "libcudnn_heuristic.so.9"};
// Opening takes about a second if the files are in memory already.
constexpr int kSecondsForTrial = 20;
constexpr const char* kComplete = "All of cuDNN's files and libcublasLt must be there. ";
constexpr const char* kInstall =
    "Install it with `pip install nvidia-cudnn-cu13 nvidia-cublas`, or from NVIDIA's apt repository "
    "(libcudnn9-cuda-13), or set PIXELCNN_CUDNN to the folder that holds libcudnn.so.9.";

// Whether this process has initialised CUDA. If it has, every driver call fails in a forked child, and a
// failure of cuDNN there would prove nothing.
bool cuda_is_initialised() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  if (driver == nullptr) return false;
  const auto get_count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  int count = 0;
  const bool answers = get_count != nullptr && get_count(&count) == 0;
  dlclose(driver);
  return answers;
}

bool may_try_in_child() { return environment("PIXELCNN_CUDNN_TRIAL") != "0" && !cuda_is_initialised(); }

// glibc keeps the error per thread.
std::string last_loader_error() {
  return dlerror();  // NOLINT(concurrency-mt-unsafe)
}

void* open_library(const fs::path& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error("ERR_CUDNN_INCOMPLETE", last_loader_error());
  return handle;
}

// Opens libcublasLt for the CUDA version that this cuDNN was built for. Without it, cuDNN ends the process
// at the first heuristics query. cuDNN loads it by name and so finds the one that is already open.
void open_cublas(const fs::path& folder, int cuda_major) {
  const std::string name = "libcublasLt.so." + std::to_string(cuda_major);
  std::vector<fs::path> folders = {folder, folder / ("../../cu" + std::to_string(cuda_major) + "/lib"),
                                   folder / "../../cublas/lib"};
  for (const fs::path& usual : nvidia_folders(("cu" + std::to_string(cuda_major)).c_str()))
    folders.push_back(usual);
  for (const fs::path& candidate : folders) {
    std::error_code missing;
    const fs::path path = fs::canonical(candidate / name, missing);
    if (missing) continue;
    open_library(path);
    return;
  }
  if (dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
    throw Error("ERR_CUDNN_INCOMPLETE",
                name + ", which cuDNN needs, is neither beside it nor in a usual place");
  }
}

// Opens all libraries of cuDNN in a folder, then libcublasLt. Throws ERR_CUDNN_INCOMPLETE. Nothing is ever
// closed, because cuDNN and the CUDA driver keep state about each other.
CudnnApi open_all(const fs::path& shim) {
  const fs::path folder = shim.parent_path();
  for (const char* name : kNeeded) {
    std::error_code missing;
    if (!fs::exists(folder / name, missing)) {
      throw Error("ERR_CUDNN_INCOMPLETE", std::string(name) + " is missing beside " + shim.string());
    }
  }
  for (const fs::path& sibling : children_of(folder, "libcudnn_")) {
    if (sibling.filename().string().ends_with(".so.9")) open_library(fs::canonical(sibling));
  }
  void* handle = open_library(shim);
  CudnnApi api;
#define PIXELCNN_X(function)                                                         \
  api.function = reinterpret_cast<decltype(api.function)>(dlsym(handle, #function)); \
  if (api.function == nullptr) throw Error("ERR_CUDNN_INCOMPLETE", last_loader_error());
  PIXELCNN_CUDNN_FUNCTIONS(PIXELCNN_X)
#undef PIXELCNN_X
  open_cublas(folder, static_cast<int>(api.cudnnGetCudartVersion() / 1000));
  return api;
}

// Properties of some GPU, so that cuDNN can be asked about it without one.
constexpr const char* kSomeGpu =
    R"({"deviceName":"NVIDIA A100-SXM4-80GB","cudaDeviceId":0,"deviceVer":800,"driverVer":13000,)"
    R"("maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)"
    R"("multiProcessorCount":108,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
    R"("maxSharedMemoryPerBlockOptin":166912,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
    R"("maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)"
    R"("supportCoopLaunch":1,"totalGlobalMem":85094825984,"smClockRateKHz":1410000,)"
    R"("memClockRateKHz":1512000,"l2CacheSize":41943040})";

// Returns the child's answer: "version 92400", or "ERR_CODE sentence".
std::string try_in_child(const fs::path& shim) {
  try {
    const CudnnApi api = open_all(shim);
    const int version = static_cast<int>(api.cudnnGetVersion());
    if (version >= kLeastCudnnVersion) {
      // A broken installation crashes in this call.
      try {
        const CudnnTarget target{.properties = device_properties(api, kSomeGpu)};
        const MaskedConv2dShape shape{{.c = 64,
                                       .k = 64,
                                       .window = masked_square(3, OwnRow::kCentre),
                                       .channel_groups = 1,
                                       .algorithm = Algorithm::kAuto,
                                       .precision = Precision::kBf16},
                                      16,
                                      8,
                                      8};
        offered_configurations(api, target, build_graph(api, target, {Convolution::kForwardRelu, shape}));
      } catch (const Error& error) {
        // Other failures may only mean that the child has no device.
        const std::string text = error.what();
        if (text.find("SUBLIBRARY") != std::string::npos) throw Error("ERR_CUDNN_INCOMPLETE", text);
      }
    }
    return "version " + std::to_string(version);
  } catch (const Error& error) {
    return error.code() + " " + error.what();
  } catch (const std::exception& error) {
    return std::string("ERR_CUDNN_INCOMPLETE ") + error.what();
  }
}

enum class Verdict { kUsable, kRefused, kHangs };

// Searches for a cuDNN that works, place by place.
class Search {
 public:
  // `only` is the only place to search; "" means the usual places.
  explicit Search(std::string only) : only_(std::move(only)), in_child_(may_try_in_child()) {
    library_.tried = in_child_;
  }

  CudnnLibrary run() {
    std::set<fs::path> seen;
    for (const fs::path& shim : places()) {
      std::error_code missing;
      // The other libraries lie beside the file itself, not beside a link to it.
      const fs::path file = fs::canonical(shim, missing);
      if (!seen.insert(missing ? shim : file).second) continue;
      if (missing) {
        library_.attempts.push_back({shim, "not there"});
        continue;
      }
      const Verdict verdict = in_child_ ? try_in_child_first(file) : open(file);
      if (verdict == Verdict::kUsable) return std::move(library_);
      // A library that hung would hang at the next place as well. Without a child, the files of a refused
      // cuDNN stay open in this process, and the next cuDNN would find those by their names.
      if (verdict == Verdict::kHangs || !in_child_) break;
    }
    if (library_.code.empty()) {
      library_.code = "ERR_CUDNN_NOT_FOUND";
      library_.message = only_.empty() ? "cuDNN 9 was not found on this machine."
                                       : "There is no libcudnn.so.9 in " + only_ + ".";
      library_.remedy = kInstall;
    }
    return std::move(library_);
  }

 private:
  std::vector<fs::path> places() const {
    std::vector<fs::path> shims;
    if (!only_.empty()) {
      shims.push_back(fs::path(only_).filename() == kShim ? fs::path(only_) : fs::path(only_) / kShim);
      return shims;
    }
    // Asks the loader in a child process, if possible, because a library that is opened stays open.
    std::string path;
    if (in_child_) {
      const ChildResult result = run_in_child([] { return loader_path(kShim); }, kSecondsForTrial);
      if (result.ended) path = result.answer;
    } else {
      path = loader_path(kShim);
    }
    if (!path.empty()) shims.push_back(path);
    for (const fs::path& usual : nvidia_folders("cudnn")) shims.push_back(usual / kShim);
    return shims;
  }

  Verdict try_in_child_first(const fs::path& shim) {
    const ChildResult result = run_in_child([&shim] { return try_in_child(shim); }, kSecondsForTrial);
    if (result.timed_out) {
      refuse(shim, "ERR_CUDNN_TIMEOUT",
             "it did not answer within " + std::to_string(kSecondsForTrial) + " seconds",
             "Where it is known to work, PIXELCNN_CUDNN_TRIAL=0 opens it without trying it first.");
      return Verdict::kHangs;
    }
    if (!result.ended) {
      return refuse(shim, "ERR_CUDNN_CRASHED", "it ended the process that tried it: " + result.error,
                    "Its files may be of different versions. Install it anew: " + std::string(kInstall));
    }
    if (!result.answer.starts_with("version ")) {
      const size_t space = result.answer.find(' ');
      std::string reason = result.answer.substr(space + 1);
      if (!result.error.empty()) reason.append(" (").append(result.error).append(")");
      return refuse(shim, result.answer.substr(0, space), reason, kComplete + std::string(kInstall));
    }
    int version = 0;
    std::from_chars(result.answer.data() + 8, result.answer.data() + result.answer.size(), version);
    if (version < kLeastCudnnVersion) return refuse_version(shim, version);
    return open(shim);
  }

  // Opens it in this process permanently.
  Verdict open(const fs::path& shim) {
    try {
      auto& opened = process().opened;
      if (!opened.contains(shim)) opened.emplace(shim, open_all(shim));
      const CudnnApi& api = opened.at(shim);
      const int version = static_cast<int>(api.cudnnGetVersion());
      if (version < kLeastCudnnVersion) return refuse_version(shim, version);
      library_.api = &api;
      library_.path = shim;
      library_.version = version;
      library_.code = library_.message = library_.remedy = "";
      return Verdict::kUsable;
    } catch (const Error& error) {
      return refuse(shim, error.code(), error.what(), kComplete + std::string(kInstall));
    } catch (const std::exception& error) {  // thrown by the file system functions
      return refuse(shim, "ERR_CUDNN_INCOMPLETE", error.what(), kComplete + std::string(kInstall));
    }
  }

  Verdict refuse_version(const fs::path& shim, int version) {
    return refuse(shim, "ERR_CUDNN_VERSION",
                  "it is version " + cudnn_version_text(version) + ", and pixelcnn needs " +
                      cudnn_version_text(kLeastCudnnVersion) + " or newer",
                  kInstall);
  }

  Verdict refuse(const fs::path& shim, const std::string& code, const std::string& reason,
                 const std::string& remedy) {
    library_.attempts.push_back({shim, reason});
    // Reports the first place that failed, since that is the one the user meant.
    if (library_.code.empty()) {
      library_.code = code;
      library_.message = "cuDNN at " + shim.string() + " cannot be used: " + reason + ".";
      library_.remedy = remedy;
    }
    return Verdict::kRefused;
  }

  const std::string only_;
  const bool in_child_;
  CudnnLibrary library_;
};

}  // namespace

std::string cudnn_version_text(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::shared_ptr<const CudnnLibrary> load_cudnn(const std::string& folder) {
  const std::string only = folder.empty() ? environment("PIXELCNN_CUDNN").value_or("") : folder;
  const std::lock_guard lock(process().mutex);
  std::shared_ptr<const CudnnLibrary>& library = process().found[only];
  if (library == nullptr) library = std::make_shared<const CudnnLibrary>(Search(only).run());
  return library;
}

}  // namespace pixelcnn::cuda
