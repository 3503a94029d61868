// Emulates the capture of streams into graphs, and the launch of graphs.
#include <algorithm>
#include <memory>
#include <string>
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

bool spoil_captures(InCapture in_capture) {
  if (in_capture == InCapture::kAllowed) return false;
  bool any = false;
  for (const auto& capture : open_captures()) {
    const bool own =
        capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id();
    if (in_capture == InCapture::kForbidden || own || capture->mode == cudaStreamCaptureModeGlobal)
      any = capture->spoiled = true;
  }
  return any;
}

bool captures(cudaStream_t stream) { return stream != nullptr && stream->capture != nullptr; }

cudaError_t record(Capture& capture, std::vector<Work> work) {
  if (capture.spoiled) return cudaErrorStreamCaptureInvalidated;
  for (Work& node : work) {
    if (node.kernel && ++capture.kernels == options.refused_capture_launch) {
      capture.spoiled = true;
      return refuse(cudaErrorStreamCaptureUnsupported, "a launch is refused under capture as told to");
    }
    capture.nodes.push_back(std::move(node));
  }
  return cudaSuccess;
}

void abandon_capture(EmulatedStream& stream) {
  std::erase(open_captures(), stream.capture);
  stream.capture.reset();
}

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
    open_captures().push_back(stream->capture);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call(__func__, InCapture::kAllowed, [&] {
    *graph = nullptr;
    if (!emulator::captures(stream)) return refuse(cudaErrorIllegalState, "the stream does not capture");
    const auto capture = stream->capture;
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
      return cudaErrorStreamCaptureWrongThread;
    emulator::abandon_capture(*stream);
    if (capture->spoiled) return cudaErrorStreamCaptureInvalidated;
    *graph = std::make_unique<EmulatedGraph>(EmulatedGraph{std::move(capture->nodes)}).release();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return call(__func__, InCapture::kAllowed, [&] {
    *status = !emulator::captures(stream) ? cudaStreamCaptureStatusNone
              : stream->capture->spoiled  ? cudaStreamCaptureStatusInvalidated
                                          : cudaStreamCaptureStatusActive;
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
    emulator::log_launch("graph " + std::to_string(kernels));
    return emulator::enqueue(stream, nodes);
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
