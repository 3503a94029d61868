// Replaces cuDNN on the emulated GPU: each choice takes PIXELCNN_STANDIN_MILLISECONDS, and leaves every
// convolution to our own kernels.
#include <chrono>
#include <cstdlib>
#include <thread>

#include "../../cuda/check.h"
#include "../../cuda/cudnn/loader.h"
#include "../../cuda/cudnn/plans.h"
#include "../../cuda/cudnn/report.h"

namespace pixelcnn::cuda {
namespace {

class SlowChoices final : public Cudnn {
 public:
  // As cudnnDestroy does.
  ~SlowChoices() override { static_cast<void>(cudaDeviceSynchronize()); }

  // Throws while a stream of the GPU is captured: a real search times plans, which nothing may disturb.
  const ConvolutionPlan* prepare(const ConvolutionRequest&, const ConvolutionTrial&) override {
    const char* const milliseconds = std::getenv("PIXELCNN_STANDIN_MILLISECONDS");
    if (milliseconds != nullptr)
      std::this_thread::sleep_for(std::chrono::milliseconds(std::atoi(milliseconds)));
    if (cudaDeviceSynchronize() != cudaSuccess) throw Error("ERR_CUDNN", "another device is capturing");
    return nullptr;
  }
  const ConvolutionPlan* find(const ConvolutionRequest&) const override { return nullptr; }
  std::vector<std::unique_ptr<ConvolutionPlan>> candidates(const ConvolutionRequest&) override { return {}; }
  void exclude(const std::string&) override {}
};

}  // namespace

std::string cudnn_version_text(int) { return "stand-in"; }

std::shared_ptr<const CudnnLibrary> load_cudnn(const std::string&) {
  static const int anything = 0;
  CudnnLibrary library;
  library.api = reinterpret_cast<const CudnnApi*>(&anything);  // never used but for being there
  library.path = "nowhere";
  return std::make_shared<const CudnnLibrary>(library);
}

std::unique_ptr<Cudnn> open_cudnn(std::shared_ptr<const CudnnLibrary>, cudaStream_t) {
  return std::make_unique<SlowChoices>();
}

void report_cudnn(CudnnReport* report) { *report = {}; }

}  // namespace pixelcnn::cuda
