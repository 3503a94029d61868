// Streams, events, launches, and their capture into graphs. Work is done as it is enqueued.
#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "device_properties.h"
#include "grid.h"
#include "runtime.h"

struct EmulatedGraph {
  std::vector<std::function<cudaError_t()>> nodes;
};
struct EmulatedGraphExec {
  std::vector<std::function<cudaError_t()>> nodes;
};

namespace emulator {

namespace {

struct Capture {
  EmulatedGraph graph;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  cudaStream_t origin;
  bool spoiled = false;
};

struct Streams {
  std::vector<std::shared_ptr<Capture>> captures;
};

Streams& streams() {
  static Streams* const instance = std::make_unique<Streams>().release();
  return *instance;
}

cudaError_t run_launch(const LaunchShape& shape, const std::function<void()>& thread) {
  if (options.failing_launch > 0 && --options.failing_launch == 0) {
    return lose_device(cudaErrorLaunchFailure, std::string(shape.kernel) + ": failed as told to");
  }
  const std::string error = run_grid(shape, thread);
  if (error.empty()) return cudaSuccess;
  return lose_device(cudaErrorLaunchFailure, std::string(shape.kernel) + " (schedule " +
                                                 std::to_string(options.seed) + "): " + error);
}

cudaError_t check_shape(const LaunchShape& shape, const void* kernel) {
  const auto [grid, block] = std::pair(shape.grid, shape.block);
  const size_t threads = size_t{block.x} * block.y * block.z;
  const bool grid_fits = grid.x != 0 && grid.y != 0 && grid.z != 0 && grid.x <= 0x7fffffffu &&
                         grid.y <= 65535 && grid.z <= 65535;
  if (!grid_fits || threads == 0 || threads > 1024 || block.z > 64) {
    return refuse(cudaErrorInvalidConfiguration, std::string(shape.kernel) + ": a grid of " +
                                                     std::to_string(grid.x) + " x " + std::to_string(grid.y) +
                                                     " x " + std::to_string(grid.z) + " blocks of " +
                                                     std::to_string(threads) + " threads");
  }
  const auto permission = runtime().shared_bytes.find(kernel);
  const size_t most = permission != runtime().shared_bytes.end() ? permission->second : kSharedBytes;
  if (shape.shared_bytes > most) {
    return refuse(cudaErrorInvalidValue,
                  std::string(shape.kernel) + ": " + std::to_string(shape.shared_bytes) +
                      " bytes of dynamic shared memory, allowed are " + std::to_string(most));
  }
  return cudaSuccess;
}

}  // namespace

void submit(const LaunchShape& shape, const void* kernel, std::function<void()> thread) {
  if (running != nullptr) {
    InEmulator mark;
    fail(std::string(shape.kernel) + " is launched by a kernel");
  }
  call("launch", InCapture::kAllowed, [&] {
    const cudaError_t status = check_shape(shape, kernel);
    if (status != cudaSuccess) return status;
    return enqueue(shape.stream, [shape, thread = std::move(thread)] { return run_launch(shape, thread); });
  });
}

}  // namespace emulator

struct EmulatedStream {
  std::shared_ptr<emulator::Capture> capture;
};
struct EmulatedEvent {};

namespace emulator {

bool spoil_capture() {
  bool any = false;
  for (const auto& capture : streams().captures) {
    const bool forbids =
        capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && capture->thread == std::this_thread::get_id());
    if (forbids) any = capture->spoiled = true;
  }
  return any;
}

bool captures(cudaStream_t stream) { return stream != nullptr && stream->capture != nullptr; }

cudaError_t enqueue(cudaStream_t stream, std::function<cudaError_t()> work) {
  if (stream == nullptr && spoil_capture()) {
    return refuse(cudaErrorStreamCaptureUnsupported, "the default stream is used while another captures");
  }
  if (!captures(stream)) return work();
  if (stream->capture->spoiled) return cudaErrorStreamCaptureInvalidated;
  stream->capture->graph.nodes.push_back(std::move(work));
  return cudaSuccess;
}

}  // namespace emulator

using emulator::call;
using emulator::InCapture;
using emulator::refuse;
using emulator::streams;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int bytes) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (bytes < 0 || static_cast<size_t>(bytes) > emulator::shared_bytes_with_permission()) {
      return refuse(cudaErrorInvalidValue, std::to_string(bytes) +
                                               " bytes of dynamic shared memory, the device has " +
                                               std::to_string(emulator::shared_bytes_with_permission()));
    }
    emulator::runtime().shared_bytes[kernel] = static_cast<size_t>(bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return call(__func__, InCapture::kAllowed, [&] {
    *stream = std::make_unique<EmulatedStream>().release();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::unique_ptr<EmulatedStream>{stream}.reset();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return call(__func__, InCapture::kForbidden, [] { return cudaSuccess; });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return call(__func__, InCapture::kAllowed, [&] {
    *event = std::make_unique<EmulatedEvent>().release();
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(__func__, InCapture::kAllowed, [&] {
    std::unique_ptr<EmulatedEvent>{event}.reset();
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return call(__func__, InCapture::kAllowed, [] { return cudaSuccess; });
}

cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return call(__func__, InCapture::kForbidden, [] { return cudaSuccess; });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return call(__func__, InCapture::kAllowed, [&] {
    if (stream == nullptr)
      return refuse(cudaErrorStreamCaptureUnsupported, "the default stream cannot capture");
    if (stream->capture != nullptr) return refuse(cudaErrorIllegalState, "the stream captures already");
    stream->capture = std::make_shared<emulator::Capture>();
    stream->capture->mode = mode;
    stream->capture->thread = std::this_thread::get_id();
    stream->capture->origin = stream;
    streams().captures.push_back(stream->capture);
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
    std::erase(streams().captures, capture);
    if (capture->spoiled) return cudaErrorStreamCaptureInvalidated;
    *graph = std::make_unique<EmulatedGraph>(std::move(capture->graph)).release();
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
    for (const auto& node : executable->nodes) {
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
