// Capture of streams into graphs, and graphs.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "runtime.h"
#include "stream.h"

struct EmulatedGraph {
  std::vector<emulator::Work> nodes;
};
struct EmulatedGraphExec {
  std::vector<emulator::Work> nodes;
};

namespace emulator {

namespace {

// The captures that have begun and not ended.
std::vector<std::shared_ptr<Capture>>& open_captures() {
  static auto* const instance = std::make_unique<std::vector<std::shared_ptr<Capture>>>().release();
  return *instance;
}

}  // namespace

bool spoil_captures() {
  bool any = false;
  for (const auto& capture : open_captures()) {
    const bool forbids =
        capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
    if (forbids) any = capture->spoiled = true;
  }
  return any;
}

bool captures(cudaStream_t stream) { return stream != nullptr && stream->capture != nullptr; }

}  // namespace emulator

using emulator::call;
using emulator::InCapture;
using emulator::open_captures;
using emulator::refuse;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (stream == nullptr)
      return refuse(cudaErrorStreamCaptureUnsupported, "the default stream cannot capture");
    if (stream->capture != nullptr) return refuse(cudaErrorIllegalState, "the stream captures already");
    stream->capture = std::make_shared<emulator::Capture>();
    stream->capture->mode = mode;
    stream->capture->thread = std::this_thread::get_id();
    stream->capture->origin = stream;
    open_captures().push_back(stream->capture);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call(__func__, InCapture::kAllowed, [&] {
    *graph = nullptr;
    if (stream == nullptr || stream->capture == nullptr || stream->capture->origin != stream) {
      return refuse(cudaErrorIllegalState, "no capture began in this stream");
    }
    const auto capture = std::move(stream->capture);
    std::erase(open_captures(), capture);
    if (capture->spoiled) return cudaErrorStreamCaptureInvalidated;
    *graph = std::make_unique<EmulatedGraph>(EmulatedGraph{std::move(capture->nodes)}).release();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return call(__func__, InCapture::kAllowed, [&] {
    *executable = std::make_unique<EmulatedGraphExec>(EmulatedGraphExec{graph->nodes}).release();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed, [&] {
    const auto& nodes = executable->nodes;
    const auto kernels =
        std::count_if(nodes.begin(), nodes.end(), [](const auto& node) { return node.kernel; });
    emulator::take_time(stream, static_cast<uint64_t>(kernels));
    for (const auto& node : nodes) {
      const cudaError_t status = emulator::enqueue(stream, node);
      if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  return call(__func__, InCapture::kAllowed, [&] {
    *count = graph->nodes.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::unique_ptr<EmulatedGraph>{graph}.reset();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::unique_ptr<EmulatedGraphExec>{executable}.reset();
    return cudaSuccess;
  });
}
