// Finds cuDNN on this machine, proves in a separate process that it works, and opens it permanently.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace pixelcnn::cuda {

struct CudnnApi;

// A place that was searched, and what is wrong with the cuDNN there.
struct CudnnAttempt {
  std::string path;
  std::string reason;
};

// The opened library, or why there is none. `code` is empty if `api` is set.
struct CudnnLibrary {
  const CudnnApi* api = nullptr;
  std::string path;   // of libcudnn.so.9, without links
  int version = 0;    // 10000 * major + 100 * minor + patch
  bool tried = true;  // in a separate process, before this one opened it
  // ERR_CUDNN_NOT_FOUND, ERR_CUDNN_INCOMPLETE (a file is missing or does not load), ERR_CUDNN_VERSION,
  // ERR_CUDNN_CRASHED (it ended the process that tried it) or ERR_CUDNN_TIMEOUT (it never answered).
  std::string code;
  std::string message;
  std::string remedy;
  std::vector<CudnnAttempt> attempts;
};

// Returns text such as "9.24.0".
std::string cudnn_version_text(int version);

// `folder` is the only place to search; "" means PIXELCNN_CUDNN or, if that is not set, the usual places:
// libraries that the process has loaded, the loader's path, pip wheels of the active Python, Conda, and
// CUDA's folders. Never throws for a missing or broken cuDNN. The result is kept for the life of the
// process. Call it before the process initialises CUDA: afterwards cuDNN cannot be tried in a child and is
// opened without a trial, as with PIXELCNN_CUDNN_TRIAL=0.
std::shared_ptr<const CudnnLibrary> load_cudnn(const std::string& folder = "");

}  // namespace pixelcnn::cuda
