// Tests the emulated runtime: it does what CUDA does, and refuses what CUDA refuses.
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "harness.h"
#include "planted.h"

namespace emulator_test {

namespace {

// What the capture of a body ends in, and the number of what it recorded.
struct Captured {
  cudaError_t inside, end;
  size_t nodes;
};
using Body = std::function<cudaError_t(cudaStream_t)>;
Captured capture(const Body& body, cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
  const Stream stream;
  Captured captured{};
  PIXELCNN_CUDA(cudaStreamBeginCapture(stream, mode));
  captured.inside = body(stream);
  cudaGraph_t graph = nullptr;
  captured.end = cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) {
    PIXELCNN_CUDA(cudaGraphGetNodes(graph, nullptr, &captured.nodes));
    PIXELCNN_CUDA(cudaGraphDestroy(graph));
  }
  static_cast<void>(cudaGetLastError());
  return captured;
}

Body on_another_thread(const Body& body) {
  return [body](cudaStream_t stream) {
    cudaError_t status = cudaSuccess;
    std::thread([&] { status = body(stream); }).join();
    return status;
  };
}

// Which calls spoil a capture, by the thread that makes them and by the capture's mode.
void run_capture_rules(Cases& cases) {
  constexpr auto kGlobal = cudaStreamCaptureModeGlobal, kThreadLocal = cudaStreamCaptureModeThreadLocal,
                 kRelaxed = cudaStreamCaptureModeRelaxed;
  const struct {
    const char* name;
    cudaError_t (*body)(cudaStream_t);
    bool forbidden;  // to all threads in every mode; otherwise not in mode relaxed, nor to other threads
  } calls[] = {
      {"allocation",
       [](cudaStream_t) {
         void* memory;
         return cudaMalloc(&memory, 4);
       },
       false},
      {"release", [](cudaStream_t) { return cudaFree(nullptr); }, false},
      {"page-locked allocation",
       [](cudaStream_t) {
         void* memory;
         return cudaHostAlloc(&memory, 4, cudaHostAllocDefault);
       },
       false},
      {"page-locked release", [](cudaStream_t) { return cudaFreeHost(nullptr); }, false},
      {"synchronisation of another stream", [](cudaStream_t) { return cudaStreamSynchronize(Stream()); },
       false},
      {"query of an event", [](cudaStream_t) { return cudaEventQuery(Event()); }, false},
      {"synchronisation with an event", [](cudaStream_t) { return cudaEventSynchronize(Event()); }, false},
      {"stream synchronisation", [](cudaStream_t stream) { return cudaStreamSynchronize(stream); }, true},
      {"stream query", [](cudaStream_t stream) { return cudaStreamQuery(stream); }, true},
      {"device synchronisation", [](cudaStream_t) { return cudaDeviceSynchronize(); }, true},
      {"default stream: copy", [](cudaStream_t) { return cudaMemset(nullptr, 0, 0); }, true},
      {"default stream: kernel",
       [](cudaStream_t) {
         count_levels(nullptr, nullptr, 256, Plant::kNone);
         return cudaGetLastError();
       },
       true},
      {"default stream: event", [](cudaStream_t) { return cudaEventRecord(Event()); }, true},
      {"default stream: query", [](cudaStream_t) { return cudaStreamQuery(nullptr); }, true},
  };
  for (const auto& call : calls) {
    for (const auto mode : {kGlobal, kThreadLocal, kRelaxed}) {
      for (const bool other_thread : {false, true}) {
        const bool refused = call.forbidden || mode == kGlobal || (mode == kThreadLocal && !other_thread);
        const std::string name = std::string(call.name) + " under capture of mode " + std::to_string(mode) +
                                 (other_thread ? " by another thread" : "");
        cases.run(name, "", [&] {
          const Captured captured =
              capture(other_thread ? on_another_thread(call.body) : Body(call.body), mode);
          expect(captured.inside == (refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess), "inside");
          expect(captured.end == (refused ? cudaErrorStreamCaptureInvalidated : cudaSuccess), "end");
        });
      }
    }
  }
  cases.run("an event recorded under capture is never ready", "", [] {
    const Event event;
    const auto query = [&](cudaStream_t stream) {
      PIXELCNN_CUDA(cudaEventRecord(event, stream));
      return on_another_thread([&](cudaStream_t) { return cudaEventQuery(event); })(stream);
    };
    const Captured captured = capture(query);
    expect(captured.inside == cudaErrorCapturedEvent, "inside");
    expect(captured.end == cudaErrorStreamCaptureInvalidated, "end");
  });
  cases.run("another thread ends a capture", "", [] {
    const auto end = on_another_thread([](cudaStream_t stream) {
      cudaGraph_t graph = nullptr;
      const cudaError_t status = cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) PIXELCNN_CUDA(cudaGraphDestroy(graph));
      return status;
    });
    const Captured captured = capture(end);
    expect(captured.inside == cudaErrorStreamCaptureWrongThread && captured.end == cudaSuccess, "local");
    expect(capture(end, kRelaxed).inside == cudaSuccess, "relaxed");
  });
  cases.run("whether a stream captures", "", [] {
    const auto is = [](cudaStream_t stream, cudaStreamCaptureStatus expected) {
      cudaStreamCaptureStatus status{};
      PIXELCNN_CUDA(cudaStreamIsCapturing(stream, &status));
      expect(status == expected, "capture status");
    };
    is(Stream(), cudaStreamCaptureStatusNone);
    capture([&](cudaStream_t stream) {
      is(stream, cudaStreamCaptureStatusActive);
      const cudaError_t status = cudaDeviceSynchronize();
      is(stream, cudaStreamCaptureStatusInvalidated);
      return status;
    });
  });
  cases.run("a stream that is destroyed captures no more", "", [] {
    {
      const Stream stream;
      PIXELCNN_CUDA(cudaStreamBeginCapture(stream, kThreadLocal));
    }
    PIXELCNN_CUDA(cudaDeviceSynchronize());
  });
  cases.run("the second launch of every capture is refused as told to", "", [] {
    const Buffer<float> from(std::vector<float>(4), "from"), to(4, "to");
    const auto copy_twice = [&](cudaStream_t stream) {
      PIXELCNN_CUDA(cudaMemsetAsync(to, 0, 16, stream));
      copy_vector(from, to, Plant::kNone, stream);
      expect(cudaGetLastError() == cudaSuccess, "the first launch");
      copy_vector(from, to, Plant::kNone, stream);
      return cudaGetLastError();
    };
    emulator::options.refused_capture_launch = 2;
    const Captured once = capture(copy_twice), again = capture(copy_twice);
    const Stream stream;
    const cudaError_t outside = copy_twice(stream);
    emulator::options.refused_capture_launch = 0;
    for (const Captured& captured : {once, again}) {
      expect(captured.inside == cudaErrorStreamCaptureUnsupported, "inside");
      expect(captured.end == cudaErrorStreamCaptureInvalidated, "end");
    }
    expect(outside == cudaSuccess, "outside of a capture");
    expect(capture(copy_twice).nodes == 3, "not told to");
  });
}

}  // namespace

void run_runtime(Cases& cases) {
  cases.run("impossible grid", "a grid of 0 x 1 x 1",
            [] { count_levels(nullptr, nullptr, 0, Plant::kNone); });
  cases.run("an error that stays", "failed as told to", [] {
    const Buffer<float> from(std::vector<float>(4), "from"), to(4, "to");
    emulator::options.failing_launch = 2;
    copy_vector(from, to, Plant::kNone);
    expect(cudaDeviceSynchronize() == cudaSuccess, "the first launch");
    copy_vector(from, to, Plant::kNone);
    static_cast<void>(cudaDeviceSynchronize());
    expect(cudaGetLastError() == cudaErrorLaunchFailure && cudaGetLastError() == cudaErrorLaunchFailure,
           "sticky");
    size_t free = 0, total = 0;
    expect(cudaMemGetInfo(&free, &total) == cudaErrorLaunchFailure, "after a sticky error");
  });
  cases.run("only who can make the file fails", "", [] {
    const std::string file =
        std::filesystem::temp_directory_path() / ("pixelcnn-fail-once-" + std::to_string(getpid()));
    const auto launch = [&] {
      const Buffer<float> from(std::vector<float>(4), "from"), to(4, "to");
      emulator::options.failing_launch = 1;
      emulator::options.fail_once = file.c_str();
      copy_vector(from, to, Plant::kNone);
      const cudaError_t status = cudaDeviceSynchronize();
      emulator::options.fail_once = nullptr;
      return status;
    };
    const cudaError_t first = launch();
    PIXELCNN_CUDA(cudaDeviceReset());
    const cudaError_t second = launch();
    std::remove(file.c_str());
    expect(first == cudaErrorLaunchFailure && second == cudaSuccess, "one failure");
  });
  cases.run("no device", "no CUDA-capable device", [] {
    int count = 0;
    emulator::options.devices = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    emulator::options.devices = 1;
    PIXELCNN_CUDA(status);
  });
  cases.run("a graph does when launched what was captured", "", [] {
    const Stream stream;
    const Buffer<float> from(std::vector<float>(4, 3.f), "from"), to(std::vector<float>(4, 1.f), "to");
    PIXELCNN_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    copy_vector(from, to, Plant::kNone, stream);
    PIXELCNN_CUDA(cudaMemsetAsync(from, 0, 16, stream));
    cudaGraph_t graph = nullptr;
    PIXELCNN_CUDA(cudaStreamEndCapture(stream, &graph));
    size_t nodes = 0;
    PIXELCNN_CUDA(cudaGraphGetNodes(graph, nullptr, &nodes));
    expect(nodes == 2, "two nodes");
    expect(to.read()[0] == 1, "nothing ran yet");
    cudaGraphExec_t executable = nullptr;
    PIXELCNN_CUDA(cudaGraphInstantiate(&executable, graph));
    PIXELCNN_CUDA(cudaGraphDestroy(graph));
    PIXELCNN_CUDA(cudaGraphLaunch(executable, stream));
    PIXELCNN_CUDA(cudaStreamSynchronize(stream));
    expect(to.read()[0] == 3, "first launch");
    PIXELCNN_CUDA(cudaGraphLaunch(executable, stream));
    PIXELCNN_CUDA(cudaStreamSynchronize(stream));
    expect(to.read()[0] == 0, "second launch");
    PIXELCNN_CUDA(cudaGraphExecDestroy(executable));
  });
  run_capture_rules(cases);
  cases.run("an event of what is done is ready", "", [] {
    const Stream stream;
    const Event event;
    expect(cudaEventQuery(event) == cudaSuccess, "never recorded");
    PIXELCNN_CUDA(cudaEventRecord(event, stream));
    PIXELCNN_CUDA(cudaEventSynchronize(event));
    expect(cudaEventQuery(event) == cudaSuccess && cudaStreamQuery(stream) == cudaSuccess, "done");
  });
  cases.run("copy to pageable memory under capture", "", [] {
    const Buffer<float> block(std::vector<float>(4), "block");
    std::vector<float> pageable(4);
    const auto copy = [&](cudaStream_t stream) {
      return cudaMemcpyAsync(pageable.data(), block, 16, cudaMemcpyDeviceToHost, stream);
    };
    expect(capture(copy).end == cudaErrorStreamCaptureInvalidated, "end");
  });
  cases.run("copy to page-locked memory under capture", "", [] {
    const Buffer<float> block(std::vector<float>(4), "block");
    void* locked = nullptr;
    PIXELCNN_CUDA(cudaHostAlloc(&locked, 16, cudaHostAllocDefault));
    const auto copy = [&](cudaStream_t stream) {
      return cudaMemcpyAsync(locked, block, 16, cudaMemcpyDeviceToHost, stream);
    };
    const Captured captured = capture(copy);
    expect(captured.end == cudaSuccess && captured.nodes == 1, "one node");
    PIXELCNN_CUDA(cudaFreeHost(locked));
  });
}

}  // namespace emulator_test
