// What was chosen for a convolution, kept on disk: a file per request, device and cuDNN version.
#pragma once
#include <optional>
#include <set>
#include <string>

#include "plans.h"

namespace pixelcnn::cuda {

struct CachedChoice {
  bool own_kernels;  // then nothing else is set
  Convolution convolution = Convolution::kForward;
  std::string engine = {};
  std::string plan = {};  // cuDNN's JSON
};

// Files of one folder. Reading a file that is missing, damaged, made for another key or owned by another user
// finds nothing; a folder that cannot be written keeps nothing. Neither is an error.
class CudnnCache {
 public:
  // "" for PIXELCNN_CACHE or, without that, pixelcnn in the user's cache folder (XDG_CACHE_HOME, ~/.cache).
  // PIXELCNN_CACHE set to nothing turns the cache off.
  explicit CudnnCache(const std::string& folder = "");

  std::optional<CachedChoice> read(const std::string& key) const;
  void write(const std::string& key, const CachedChoice& choice) const;

  // Engines that are not to be used: of the file `excluded-engines` and of PIXELCNN_CUDNN_EXCLUDE, separated
  // by commas or white space.
  std::set<std::string> excluded_engines() const;
  void exclude_engine(const std::string& engine) const;

  // The file of a key; "" where the cache is off.
  std::string path_of(const std::string& key) const;

 private:
  std::string folder_;
};

}  // namespace pixelcnn::cuda
