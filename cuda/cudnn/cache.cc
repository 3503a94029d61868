// Stores the fastest cuDNN plan of each convolution on disk, so that later runs need not time it again.
#include "cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "../../native/environment.h"

namespace pixelcnn::cuda {
namespace {

namespace fs = std::filesystem;

// The first line of every file. Change it if the format changes, or if our own kernels become faster.
constexpr const char* kFormat = "pixelcnn cudnn choice 1";
constexpr const char* kOwnKernels = "own kernels";
constexpr int64_t kMostBytes = 64 << 20;
constexpr const char* kExcludedEngines = "excluded-engines";

// Computes the FNV-1a hash.
std::string hash(const std::string& text) {
  uint64_t value = 14695981039346656037u;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 1099511628211u;
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
  return digits;
}

std::string default_folder() {
  if (const auto folder = environment("PIXELCNN_CACHE")) return *folder;
  const std::string cache = environment("XDG_CACHE_HOME").value_or(""),
                    home = environment("HOME").value_or("");
  if (cache.starts_with('/')) return cache + "/pixelcnn";
  if (home.starts_with('/')) return home + "/.cache/pixelcnn";
  return "";
}

class File {
 public:
  File(const std::string& path, int flags)
      : file_(open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600)) {}
  ~File() {
    if (file_ >= 0) close(file_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return file_ >= 0; }

  // Returns the whole text, or nothing unless it is a regular file of this user that only the user can
  // write: a plan contains machine code for the GPU.
  std::optional<std::string> read_own() const {
    struct stat status;
    if (fstat(file_, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
        (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 || status.st_size > kMostBytes) {
      return std::nullopt;
    }
    std::string text(status.st_size, '\0');
    for (size_t at = 0; at < text.size();) {
      const ssize_t count = read(file_, text.data() + at, text.size() - at);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return std::nullopt;
      at += count;
    }
    return text;
  }

  bool write_all(const std::string& text) const {
    for (size_t at = 0; at < text.size();) {
      const ssize_t count = write(file_, text.data() + at, text.size() - at);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      at += count;
    }
    return true;
  }

 private:
  int file_;
};

std::optional<std::string> read_file(const std::string& path) {
  const File file(path, O_RDONLY);
  return file.is_open() ? file.read_own() : std::nullopt;
}

// Replaces the file atomically, because other processes may read and write it at the same time.
void write_file(const std::string& path, const std::string& text) {
  std::error_code ignored;
  fs::create_directories(fs::path(path).parent_path(), ignored);
  const std::string temporary = path + "." + std::to_string(getpid()) + ".new";
  bool written = false;
  {
    const File file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    written = file.is_open() && file.write_all(text);
  }
  if (!written || rename(temporary.c_str(), path.c_str()) != 0) unlink(temporary.c_str());
}

// Removes the first line and returns it; "" at the end.
std::string take_line(std::string& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string line = text.substr(0, end);
  text.erase(0, end + 1);
  return line;
}

void add_words(const std::string& text, std::set<std::string>& words) {
  const char* separators = ", \t\r\n";
  for (size_t begin = text.find_first_not_of(separators); begin != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    words.insert(text.substr(begin, end - begin));
    begin = text.find_first_not_of(separators, end);
  }
}

}  // namespace

CudnnCache::CudnnCache(const std::string& folder) : folder_(folder.empty() ? default_folder() : folder) {}

std::string CudnnCache::path_of(const std::string& key) const {
  return folder_.empty() ? "" : folder_ + "/cudnn/" + hash(key);
}

// A file has these lines: the format, the key, the hash of all that follows, "own kernels" or the number
// of the convolution, and the engine. The plan follows.
std::optional<CachedChoice> CudnnCache::read(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  std::optional<std::string> text = read_file(path_of(key));
  if (!text || take_line(*text) != kFormat || take_line(*text) != key) return std::nullopt;
  const std::string expected_hash = take_line(*text);
  if (hash(*text) != expected_hash) return std::nullopt;
  const std::string convolution = take_line(*text);
  if (convolution == kOwnKernels) return CachedChoice{.own_kernels = true};
  CachedChoice choice{.own_kernels = false};
  int number = 0;
  std::from_chars(convolution.data(), convolution.data() + convolution.size(), number);
  choice.convolution = static_cast<Convolution>(number);
  choice.engine = take_line(*text);
  choice.plan = std::move(*text);
  return choice;
}

void CudnnCache::write(const std::string& key, const CachedChoice& choice) const {
  if (folder_.empty()) return;
  const std::string body = choice.own_kernels ? std::string(kOwnKernels) + "\n"
                                              : std::to_string(static_cast<int>(choice.convolution)) + "\n" +
                                                    choice.engine + "\n" + choice.plan;
  write_file(path_of(key), std::string(kFormat) + "\n" + key + "\n" + hash(body) + "\n" + body);
}

std::set<std::string> CudnnCache::excluded_engines() const {
  std::set<std::string> engines;
  if (const auto list = environment("PIXELCNN_CUDNN_EXCLUDE")) add_words(*list, engines);
  if (folder_.empty()) return engines;
  if (const std::optional<std::string> text = read_file(folder_ + "/cudnn/" + kExcludedEngines)) {
    add_words(*text, engines);
  }
  return engines;
}

void CudnnCache::exclude_engine(const std::string& engine) const {
  if (folder_.empty()) return;
  std::set<std::string> engines;
  const std::string path = folder_ + "/cudnn/" + kExcludedEngines;
  if (const std::optional<std::string> text = read_file(path)) add_words(*text, engines);
  engines.insert(engine);
  std::string text;
  for (const std::string& word : engines) text += word + "\n";
  write_file(path, text);
}

}  // namespace pixelcnn::cuda
