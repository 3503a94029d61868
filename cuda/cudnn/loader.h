// Finds cuDNN on this machine, proves in a process of its own that it can be called, and opens it for good.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace pixelcnn::cuda {

struct CudnnApi;

// A place that was looked at, and what is wrong with it.
struct CudnnAttempt {
  std::string path;
  std::string reason;
};

// The library, or why there is none. `code` is empty where `api` is set.
struct CudnnLibrary {
  const CudnnApi* api = nullptr;
  std::string path;   // of libcudnn.so.9, without links
  int version = 0;    // 10000 * major + 100 * minor + patch
  bool tried = true;  // in a process of its own, before this one opened it
  // ERR_CUDNN_NOT_FOUND, ERR_CUDNN_INCOMPLETE (a file of it is missing or does not load), ERR_CUDNN_VERSION,
  // ERR_CUDNN_CRASHED (it ended the process that tried it) or ERR_CUDNN_TIMEOUT (it never answered).
  std::string code;
  std::string message;
  std::string remedy;
  std::vector<CudnnAttempt> attempts;
};

// "9.24.0".
std::string cudnn_version_text(int version);

// `folder`: where to look, and nowhere else; "" for PIXELCNN_CUDNN or, without that, the usual places: what
// the process has loaded, the loader's path, pip wheels of the active Python, Conda, CUDA's folders. Never
// throws for a missing or broken cuDNN. The result of a folder is found once and kept for the life of the
// process. To be called before the process initialises CUDA: after that cuDNN cannot be tried in a child and
// is opened untried, as with PIXELCNN_CUDNN_TRIAL=0.
std::shared_ptr<const CudnnLibrary> load_cudnn(const std::string& folder = "");

}  // namespace pixelcnn::cuda
