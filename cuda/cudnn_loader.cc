// Finds cuDNN on this machine, proves in a process of its own that it can be called, and opens it for good.
#include "cudnn_loader.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "../native/environment.h"
#include "cudnn_engines.h"
#include "cudnn_probe.h"

namespace pixelcnn::cuda {
namespace {

// What is found is found once per process, and what is opened stays open. Never destroyed: threads may
// outlive static destructors.
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

constexpr const char* kShim = "libcudnn.so.9";
// What convolution needs of cuDNN 9 besides the shim; whatever else lies beside it is opened too.
constexpr const char* kNeeded[] = {"libcudnn_graph.so.9", "libcudnn_engines_precompiled.so.9",
                                   "libcudnn_engines_runtime_compiled.so.9", "libcudnn_heuristic.so.9"};
// Opening takes about a second once the files are in memory; from a slow disk it is over a gigabyte.
constexpr int kSecondsForTrial = 120;
constexpr const char* kInstall =
    "Install it with `pip install nvidia-cudnn-cu13 nvidia-cublas`, or from NVIDIA's apt repository "
    "(libcudnn9-cuda-13), or set PIXELCNN_CUDNN to the folder that holds libcudnn.so.9.";

std::vector<fs::path> children_of(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());  // the newest version first
  return found;
}

// `nvidia/<package>/lib` of every Python below a prefix.
void add_wheels(const std::string& prefix, const char* package, std::vector<fs::path>& folders) {
  if (prefix.empty()) return;
  for (const char* lib : {"lib", "lib64"}) {
    for (const fs::path& python : children_of(fs::path(prefix) / lib, "python3")) {
      for (const char* site : {"site-packages", "dist-packages"}) {
        folders.push_back(python / site / "nvidia" / package / "lib");
      }
    }
  }
}

// The prefix of the first python3 on the PATH: of `<prefix>/bin/python3`, links followed (pyenv's shims
// excepted).
std::string python_prefix() {
  const std::string path = environment("PATH").value_or("");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    std::error_code missing;
    const fs::path python = fs::canonical(fs::path(path.substr(begin, end - begin)) / "python3", missing);
    if (!missing && python.parent_path().filename() == "bin") return python.parent_path().parent_path();
    begin = end + 1;
  }
  return "";
}

// Folders that may hold libraries of NVIDIA, in the order in which they are tried; `package` as in wheels.
std::vector<fs::path> usual_folders(const char* package) {
  std::vector<fs::path> folders;
  add_wheels(environment("VIRTUAL_ENV").value_or(""), package, folders);
  add_wheels(python_prefix(), package, folders);
  if (const std::string home = environment("HOME").value_or(""); !home.empty())
    add_wheels(home + "/.local", package, folders);
  add_wheels("/usr/local", package, folders);
  add_wheels("/usr", package, folders);
  const std::string conda = environment("CONDA_PREFIX").value_or("");
  add_wheels(conda, package, folders);
  if (!conda.empty()) folders.push_back(fs::path(conda) / "lib");
  std::vector<fs::path> toolkits;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::string toolkit = environment(name).value_or(""); !toolkit.empty())
      toolkits.push_back(toolkit);
  }
  for (const fs::path& toolkit : children_of("/usr/local", "cuda")) toolkits.push_back(toolkit);
  for (const fs::path& toolkit : toolkits) {
    folders.push_back(toolkit / "lib64");
    folders.push_back(toolkit / "targets/x86_64-linux/lib");
  }
  for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64",
                             "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64"}) {
    folders.push_back(folder);
  }
  return folders;
}

// The file that the loader picks for a bare name, links resolved; "" if none. In a child: what is opened
// stays.
std::string loader_path(const char* name) {
  const ChildResult result = run_in_child(
      [name]() -> std::string {
        void* handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
        link_map* map = nullptr;
        if (handle == nullptr || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) return "";
        std::error_code missing;
        return fs::canonical(map->l_name, missing).string();
      },
      kSecondsForTrial);
  return result.ended ? result.answer : "";
}

// Of this thread, in glibc.
std::string last_loader_error() {
  return dlerror();  // NOLINT(concurrency-mt-unsafe)
}

void* open_library(const fs::path& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error("ERR_CUDNN_INCOMPLETE", last_loader_error());
  return handle;
}

// Opens libcublasLt for the CUDA version that this cuDNN was built for. Without it cuDNN ends the process at
// the first heuristics query. cuDNN looks it up by name, which finds what is open already.
void open_cublas(const fs::path& folder, int cuda_major) {
  const std::string name = "libcublasLt.so." + std::to_string(cuda_major);
  std::vector<fs::path> folders = {folder, folder / ("../../cu" + std::to_string(cuda_major) + "/lib"),
                                   folder / "../../cublas/lib"};
  for (const fs::path& usual : usual_folders(("cu" + std::to_string(cuda_major)).c_str()))
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

// Opens all of cuDNN in a folder, then libcublasLt. Throws ERR_CUDNN_INCOMPLETE. Nothing is ever closed:
// cuDNN keeps state, and so does the CUDA driver about it.
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

// A GPU to ask about, whatever is in this machine.
constexpr const char* kSomeGpu =
    R"({"deviceName":"NVIDIA A100-SXM4-80GB","cudaDeviceId":0,"deviceVer":800,"driverVer":13000,)"
    R"("maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,)"
    R"("multiProcessorCount":108,"warpSize":32,"maxSharedMemoryPerBlock":49152,)"
    R"("maxSharedMemoryPerBlockOptin":166912,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,)"
    R"("maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,"isTccDriver":0,)"
    R"("supportCoopLaunch":1,"totalGlobalMem":85094825984,"smClockRateKHz":1410000,)"
    R"("memClockRateKHz":1512000,"l2CacheSize":41943040})";

// What a child answers: "version 92400", or "ERR_CODE sentence".
std::string try_in_child(const fs::path& shim) {
  try {
    const CudnnApi api = open_all(shim);
    const int version = static_cast<int>(api.cudnnGetVersion());
    if (version >= kLeastCudnnVersion) {
      // The call that a broken installation does not survive.
      try {
        const CudnnTarget target{.properties = device_properties(api, kSomeGpu)};
        const MaskedConv2dShape shape{.n = 16,
                                      .h = 8,
                                      .w = 8,
                                      .c = 64,
                                      .k = 64,
                                      .kernel_size = 3,
                                      .mask = MaskType::kB,
                                      .groups = 1,
                                      .algorithm = Algorithm::kAuto,
                                      .precision = Precision::kBf16};
        offered_configurations(api, target, build_graph(api, target, {Convolution::kForwardRelu, shape}));
      } catch (const Error& error) {
        // Other failures may be for want of a device, which a child has not.
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

// Fills `library` and returns true if the libcudnn.so.9 at `shim` works; else says why not.
bool try_library(const fs::path& shim, CudnnLibrary& library) {
  const ChildResult result = run_in_child([&shim] { return try_in_child(shim); }, kSecondsForTrial);
  const auto refuse = [&](const std::string& code, const std::string& reason, const std::string& remedy) {
    library.attempts.push_back({shim, reason});
    if (!library.code.empty()) return false;  // the first place is the one that was meant
    library.code = code;
    library.message = "cuDNN at " + shim.string() + " cannot be used: " + reason + ".";
    library.remedy = remedy;
    return false;
  };
  if (!result.ended) {
    return refuse("ERR_CUDNN_CRASHED", "it ended the process that tried it: " + result.error,
                  "Its files may be of different versions. Install it anew: " + std::string(kInstall));
  }
  if (!result.answer.starts_with("version ")) {
    const size_t space = result.answer.find(' ');
    std::string reason = result.answer.substr(space + 1);
    if (!result.error.empty()) reason.append(" (").append(result.error).append(")");
    return refuse(result.answer.substr(0, space), reason,
                  "All of cuDNN's files and libcublasLt must be there. " + std::string(kInstall));
  }
  int version = 0;
  std::from_chars(result.answer.data() + 8, result.answer.data() + result.answer.size(), version);
  if (version < kLeastCudnnVersion) {
    return refuse("ERR_CUDNN_VERSION",
                  "it is version " + cudnn_version_text(version) + ", and pixelcnn needs " +
                      cudnn_version_text(kLeastCudnnVersion) + " or newer",
                  kInstall);
  }
  library.api = &process().opened.insert_or_assign(shim, open_all(shim)).first->second;
  library.path = shim;
  library.version = version;
  library.code = library.message = library.remedy = "";
  return true;
}

CudnnLibrary search(const std::string& folder) {
  CudnnLibrary library;
  const std::string only = folder.empty() ? environment("PIXELCNN_CUDNN").value_or("") : folder;
  std::vector<fs::path> shims;
  if (!only.empty()) {
    shims.push_back(fs::path(only).filename() == kShim ? fs::path(only) : fs::path(only) / kShim);
  } else {
    if (const std::string path = loader_path(kShim); !path.empty()) shims.push_back(path);
    for (const fs::path& usual : usual_folders("cudnn")) shims.push_back(usual / kShim);
  }
  std::set<fs::path> seen;
  for (const fs::path& shim : shims) {
    if (!seen.insert(shim).second) continue;
    std::error_code missing;
    const fs::path file =
        fs::canonical(shim, missing);  // the siblings lie beside the file, not beside a link
    if (missing) {
      library.attempts.push_back({shim, "not there"});
    } else if (try_library(file, library)) {
      return library;
    }
  }
  if (library.code.empty()) {
    library.code = "ERR_CUDNN_NOT_FOUND";
    library.message = only.empty() ? "cuDNN 9 was not found on this machine."
                                   : "There is no libcudnn.so.9 in " + only + ".";
    library.remedy = kInstall;
  }
  return library;
}

}  // namespace

std::string cudnn_version_text(int version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::shared_ptr<const CudnnLibrary> load_cudnn(const std::string& folder) {
  const std::lock_guard lock(process().mutex);
  std::shared_ptr<const CudnnLibrary>& library = process().found[folder];
  if (library == nullptr) library = std::make_shared<const CudnnLibrary>(search(folder));
  return library;
}

}  // namespace pixelcnn::cuda
