// Tests the search for cuDNN, the child process that tries it, and the cache of choices, with a fake cuDNN
// in a process with busy threads. Usage: cudnn_loader_test FAKE_LIBRARY EMPTY_FOLDER [PART]
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "../../cuda/cudnn/cache.h"
#include "../../cuda/cudnn/loader.h"
#include "../../cuda/cudnn/probe.h"
#include "../../cuda/cudnn/report.h"
#include "cudnn_check.h"

namespace pixelcnn::test {
namespace {

namespace fs = std::filesystem;
using namespace cuda;

Checks check;

constexpr const char* kFiles[] = {"libcudnn.so.9",
                                  "libcudnn_graph.so.9",
                                  "libcudnn_engines_precompiled.so.9",
                                  "libcudnn_engines_runtime_compiled.so.9",
                                  "libcudnn_heuristic.so.9",
                                  "libcublasLt.so.13"};

// Threads that allocate all the time, as in a Node process: a fork finds their locks in any state.
class BusyThreads {
 public:
  BusyThreads() {
    for (int i = 0; i < 4; ++i) {
      threads_.emplace_back([this] {
        std::vector<std::string> strings;
        while (!stop_) {
          strings.emplace_back(100 + strings.size(), 'x');
          if (strings.size() > 500) strings.clear();
        }
      });
    }
  }
  ~BusyThreads() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

// A folder with the files of cuDNN, all of them copies of the fake, but for those left out.
std::string install(const fs::path& folder, const fs::path& fake,
                    const std::vector<std::string>& without = {}) {
  fs::create_directories(folder);
  for (const std::string file : kFiles) {
    if (std::find(without.begin(), without.end(), file) == without.end()) fs::copy_file(fake, folder / file);
  }
  return folder;
}

void check_refused(const std::string& folder, const std::string& code, const std::string& words) {
  const auto library = load_cudnn(folder);
  check(library->api == nullptr, folder + ": is refused");
  check(library->code == code, folder + ": " + code + ", got " + library->code);
  check(library->message.find(words) != std::string::npos,
        folder + ": says '" + words + "': " + library->message);
  check(!library->remedy.empty(), folder + ": a remedy");
  check(!library->attempts.empty(), folder + ": says where it looked");
}

void test_loader(const fs::path& fake, const fs::path& folder) {
  const BusyThreads busy;
  check_refused(folder / "nothing", "ERR_CUDNN_NOT_FOUND", "no libcudnn.so.9");
  // The shim alone: calling it would end the process.
  fs::create_directories(folder / "alone");
  fs::copy_file(fake, folder / "alone/libcudnn.so.9");
  check_refused(folder / "alone", "ERR_CUDNN_INCOMPLETE", "libcudnn_");
  check_refused(install(folder / "no-cublas", fake, {"libcublasLt.so.13"}), "ERR_CUDNN_INCOMPLETE",
                "libcublasLt");
  const fs::path damaged = install(folder / "damaged", fake, {"libcudnn_graph.so.9"});
  std::ofstream(damaged / "libcudnn_graph.so.9") << "not a library";
  check_refused(damaged, "ERR_CUDNN_INCOMPLETE", "libcudnn_graph.so.9");

  setenv("FAKE_CUDNN", "abort", 1);
  check_refused(install(folder / "aborts", fake), "ERR_CUDNN_CRASHED", "Cannot load symbol");
  setenv("FAKE_CUDNN", "crash", 1);
  check_refused(install(folder / "crashes", fake), "ERR_CUDNN_CRASHED", "Segmentation fault");
  setenv("FAKE_CUDNN", "old", 1);
  check_refused(install(folder / "old", fake), "ERR_CUDNN_VERSION", "9.1.0");
  unsetenv("FAKE_CUDNN");

  const std::string whole = install(folder / "whole", fake);
  const auto library = load_cudnn(whole);
  check(library->api != nullptr && library->code.empty(), "a whole folder is opened: " + library->message);
  check(library->version == 92400 && library->path == whole + "/libcudnn.so.9", "version and path");
  check(load_cudnn(whole) == library, "a folder is tried once");

  // A link to the shim: the siblings are beside the file, not beside the link.
  fs::create_directories(folder / "linked");
  fs::create_symlink(whole + "/libcudnn.so.9", folder / "linked/libcudnn.so.9");
  check(load_cudnn(folder / "linked")->path == library->path, "links are followed");

  setenv("PIXELCNN_CUDNN", whole.c_str(), 1);
  check(load_cudnn()->path == library->path, "PIXELCNN_CUDNN is where it looks");
  setenv("PIXELCNN_CUDNN", (folder / "nothing").c_str(), 1);
  check(load_cudnn()->code == "ERR_CUDNN_NOT_FOUND", "also where it has changed");
  setenv("PIXELCNN_CUDNN", whole.c_str(), 1);
  CudnnReport report;
  report_cudnn(&report);
  check(report.path == library->path && report.version == std::string("9.24.0") && *report.message == 0,
        "a report of a cuDNN that works");
}

// The wheels of cuDNN and cuBLAS in an environment of Python.
std::string install_wheels(const fs::path& fake, const fs::path& environment) {
  const fs::path wheel = environment / "lib/python3.11/site-packages/nvidia";
  install(wheel / "cudnn/lib", fake, {"libcublasLt.so.13"});
  fs::create_directories(wheel / "cu13/lib");
  fs::copy_file(fake, wheel / "cu13/lib/libcublasLt.so.13");
  return wheel / "cudnn/lib/libcudnn.so.9";
}

// One search per process: its result is kept.
void test_wheels(const fs::path& fake, const fs::path& folder) {
  const std::string shim = install_wheels(fake, folder / "venv");
  setenv("VIRTUAL_ENV", (folder / "venv").c_str(), 1);
  const auto library = load_cudnn();
  check(library->path == shim,
        "wheels of the active Python are found: '" + library->path + "' " + library->message);
}

// `folder` is an environment made by `python3 -m venv`; its python3 is the first one on the PATH, and
// VIRTUAL_ENV is not set.
void test_environment(const fs::path& fake, const fs::path& folder) {
  const std::string shim = install_wheels(fake, folder);
  const auto library = load_cudnn();
  check(library->path == shim, "wheels beside a linked python3: '" + library->path + "' " + library->message);
}

// The driver is the stand-in, which works.
void test_after_cuda(const fs::path& fake, const fs::path& folder) {
  setenv("FAKE_CUDNN", "driver", 1);
  const auto before = load_cudnn(install(folder / "before", fake));
  check(before->api != nullptr && before->tried, "before cuInit it is tried in a child: " + before->message);
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY);
  const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  check(init(0) == 0, "the driver works");
  const auto begin = std::chrono::steady_clock::now();
  const auto after = load_cudnn(install(folder / "after", fake));
  check(after->api != nullptr && !after->tried, "after cuInit it is opened untried: " + after->message);
  check(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10), "and at once");
}

void test_no_trial(const fs::path& fake, const fs::path& folder) {
  setenv("PIXELCNN_CUDNN_TRIAL", "0", 1);
  const auto library = load_cudnn(install(folder / "whole", fake));
  check(library->api != nullptr && !library->tried, "opened without a trial: " + library->message);
  check_refused(install(folder / "incomplete", fake, {"libcudnn_graph.so.9"}), "ERR_CUDNN_INCOMPLETE",
                "libcudnn_graph");
  const std::string dangling = install(folder / "dangling", fake);
  fs::create_symlink("gone.so", dangling + "/libcudnn_adv.so.9");
  check_refused(dangling, "ERR_CUDNN_INCOMPLETE", "libcudnn_adv");
}

// Takes as long as a trial may.
void test_hang(const fs::path& fake, const fs::path& folder) {
  setenv("FAKE_CUDNN", "hang", 1);
  check_refused(install(folder / "hangs", fake), "ERR_CUDNN_TIMEOUT", "within 20 seconds");
}

void test_report(const fs::path& folder) {
  const std::string nowhere = folder / "nowhere";
  setenv("PIXELCNN_CUDNN", nowhere.c_str(), 1);
  CudnnReport report;
  report_cudnn(&report);
  check(std::string(report.code) == "ERR_CUDNN_NOT_FOUND" && *report.version == 0,
        "a report of none: its code");
  check(report.attempts == nowhere + "/libcudnn.so.9: not there\n", "the places");
  check(std::string(report.remedy).find("pip install") != std::string::npos, "the remedy");
}

// `folder` is on the loader's path.
void test_loader_path(const fs::path& fake, const fs::path& folder) {
  const std::string whole = install(folder / "lib", fake);
  const auto library = load_cudnn();
  check(library->path == whole + "/libcudnn.so.9",
        "the loader's path: '" + library->path + "' " + library->message);
}

void test_child() {
  const ChildResult answer = run_in_child([] { return std::string("an answer\nof lines"); }, 10);
  check(answer.ended && answer.answer == "an answer\nof lines", "an answer comes back");
  const ChildResult crash = run_in_child([]() -> std::string { raise(SIGABRT), throw 0; }, 10);
  check(!crash.ended && crash.error.find("Aborted") != std::string::npos, "an abort is told: " + crash.error);
  const ChildResult quiet = run_in_child([]() -> std::string { _exit(0); }, 10);
  check(!quiet.ended, "a child that leaves without an answer has not ended by itself");
  const ChildResult hang = run_in_child([]() -> std::string { return pause(), ""; }, 1);
  check(!hang.ended && hang.timed_out && hang.error.find("in time") != std::string::npos,
        "a child that hangs is given up");
}

std::string text_of(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void test_cache(const fs::path& folder) {
  const CudnnCache cache(folder / "cache");
  const CachedChoice choice{false, Convolution::kInputGradient, "9.24.0/input-gradient/67",
                            "{\"plan\": \"\n\"}"};
  const auto same = [&](const std::optional<CachedChoice>& read) {
    return read && !read->own_kernels && read->convolution == choice.convolution &&
           read->engine == choice.engine && read->plan == choice.plan;
  };
  check(!cache.read("key"), "an empty cache has nothing");
  cache.write("key", choice);
  check(same(cache.read("key")), "what was written is read");
  cache.write("own", {.own_kernels = true});
  check(cache.read("own") && cache.read("own")->own_kernels, "our own kernels as a choice");
  check(!cache.read("other"), "another key has nothing");

  const std::string path = cache.path_of("key");
  const std::string whole = text_of(path);
  for (size_t length = 0; length < whole.size(); ++length) {
    std::ofstream(path) << whole.substr(0, length);
    if (!check(!cache.read("key"), "cut to " + std::to_string(length))) break;
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 1;
    std::ofstream(path) << damaged;
    if (!check(!cache.read("key"), "damaged at " + std::to_string(at))) break;
  }
  std::ofstream(path) << whole;
  check(same(cache.read("key")), "repaired");
  chmod(path.c_str(), 0666);
  check(!cache.read("key"), "a file that others can write is not read");
  chmod(path.c_str(), 0600);
  fs::copy_file(path, cache.path_of("other"));
  check(!cache.read("other"), "a file under another key's name is not read");
  if (geteuid() == 0) {
    check(chown(path.c_str(), 12345, 12345) == 0 && !cache.read("key"), "another user's file is not read");
  }
  fs::remove(path);
  fs::create_directory(path);
  cache.write("key", choice);
  check(!cache.read("key"), "a folder in the way is no error");

  const CudnnCache nowhere("/proc/nothing");
  nowhere.write("key", choice);
  check(!nowhere.read("key"), "a cache that cannot be written has nothing");
  setenv("PIXELCNN_CACHE", "", 1);
  check(CudnnCache().path_of("key").empty(), "the cache can be turned off");
  setenv("PIXELCNN_CACHE", "/somewhere", 1);
  check(CudnnCache().path_of("key").starts_with("/somewhere/cudnn/"), "PIXELCNN_CACHE");
  unsetenv("PIXELCNN_CACHE");
  setenv("XDG_CACHE_HOME", "/elsewhere", 1);
  check(CudnnCache().path_of("key").starts_with("/elsewhere/pixelcnn/"), "XDG_CACHE_HOME");

  cache.exclude_engine("9.24.0/forward/62");
  cache.exclude_engine("9.24.0/forward/45");
  setenv("PIXELCNN_CUDNN_EXCLUDE", "a,b c", 1);
  check(cache.excluded_engines() ==
            std::set<std::string>{"9.24.0/forward/45", "9.24.0/forward/62", "a", "b", "c"},
        "excluded engines of file and environment");
}

}  // namespace
}  // namespace pixelcnn::test

int main(int count, char** arguments) {
  if (count < 3) return 2;
  using namespace pixelcnn::test;
  const std::filesystem::path fake = arguments[1], folder = arguments[2];
  const std::string part = count > 3 ? arguments[3] : "";
  if (part == "wheels") {
    test_wheels(fake, folder);
  } else if (part == "environment") {
    test_environment(fake, folder);
  } else if (part == "after-cuda") {
    test_after_cuda(fake, folder);
  } else if (part == "no-trial") {
    test_no_trial(fake, folder);
  } else if (part == "hang") {
    test_hang(fake, folder);
  } else if (part == "report") {
    test_report(folder);
  } else if (part == "loader-path") {
    test_loader_path(fake, folder);
  } else {
    test_child();
    test_loader(fake, folder);
    test_cache(folder);
  }
  return check.finish();
}
