// Stores the fastest cuDNN plan of each convolution on disk: one file per request, device and cuDNN
// version.
#pragma once
#include <optional>
#include <set>
#include <string>

#include "plans.h"

namespace pixelcnn::cuda {

struct CachedChoice {
  bool own_kernels;  // if true, nothing else is set
  Convolution convolution = Convolution::kForward;
  std::string engine = {};
  std::string plan = {};  // cuDNN's JSON
};

// The files of one folder. A file that is missing, damaged, made for another key or owned by another user
// counts as absent, and a folder that cannot be written stores nothing. Neither is an error.
class CudnnCache {
 public:
  // "" means PIXELCNN_CACHE or, if that is not set, the folder pixelcnn in the user's cache folder
  // (XDG_CACHE_HOME, ~/.cache). An empty PIXELCNN_CACHE turns the cache off.
  explicit CudnnCache(const std::string& folder = "");

  std::optional<CachedChoice> read(const std::string& key) const;
  void write(const std::string& key, const CachedChoice& choice) const;

  // Returns the engines that must not be used: those in the file `excluded-engines` and in
  // PIXELCNN_CUDNN_EXCLUDE, separated by commas or white space.
  std::set<std::string> excluded_engines() const;
  void exclude_engine(const std::string& engine) const;

  // Returns the file of a key, or "" if the cache is off.
  std::string path_of(const std::string& key) const;

 private:
  std::string folder_;
};

}  // namespace pixelcnn::cuda
