// Finds the places where NVIDIA's libraries may lie on this machine.
#include "places.h"

#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <system_error>

#include "../../native/environment.h"

namespace pixelcnn::cuda {

namespace fs = std::filesystem;

std::vector<fs::path> children_of(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());  // the newest version first
  return found;
}

namespace {

// Adds `nvidia/<package>/lib` of every Python below a prefix.
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

// Returns the prefixes of the first python3 on the PATH: that of `<prefix>/bin/python3`, then that of the
// file that its links lead to. In a virtual environment python3 is a link into another prefix, but the
// wheels are in the environment's own. Shims such as pyenv's, which do not lie in a `bin` folder, are
// skipped.
std::vector<std::string> python_prefixes() {
  const std::string path = environment("PATH").value_or("");
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find(':', begin), path.size());
    const fs::path link = fs::path(path.substr(begin, end - begin)) / "python3";
    std::error_code missing;
    const fs::path file = fs::canonical(link, missing);
    std::vector<std::string> prefixes;
    for (const fs::path& python : {link, file}) {
      if (!missing && python.parent_path().filename() == "bin")
        prefixes.push_back(python.parent_path().parent_path());
    }
    if (!prefixes.empty()) return prefixes;
    begin = end + 1;
  }
  return {};
}

}  // namespace

std::vector<fs::path> nvidia_folders(const char* package) {
  std::vector<fs::path> folders;
  add_wheels(environment("VIRTUAL_ENV").value_or(""), package, folders);
  for (const std::string& prefix : python_prefixes()) add_wheels(prefix, package, folders);
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

std::string loader_path(const char* name) {
  void* handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  link_map* map = nullptr;
  if (handle == nullptr || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) return "";
  std::error_code missing;
  return fs::canonical(map->l_name, missing).string();
}

}  // namespace pixelcnn::cuda
