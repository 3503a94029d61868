// Collects what `pixelcnn doctor` says about cuDNN, as plain data that can be passed to pixelcnn.node.
#include "report.h"

#include <string>

#include "loader.h"

namespace pixelcnn::cuda {
namespace {

template <size_t kSize>
void copy_text(char (&to)[kSize], const std::string& text) {
  to[text.copy(to, kSize - 1)] = '\0';
}

}  // namespace

void report_cudnn(CudnnReport* report) {
  *report = {};
  const auto library = load_cudnn();
  std::string attempts;
  for (const CudnnAttempt& attempt : library->attempts)
    attempts += attempt.path + ": " + attempt.reason + "\n";
  copy_text(report->attempts, attempts);
  copy_text(report->code, library->code);
  copy_text(report->message, library->message);
  copy_text(report->remedy, library->remedy);
  copy_text(report->path, library->path);
  if (library->api != nullptr) copy_text(report->version, cudnn_version_text(library->version));
}

}  // namespace pixelcnn::cuda
