// The emulated runtime's test: it does what CUDA does, and refuses what CUDA refuses.
#include "harness.h"
#include "planted.h"

namespace emulator_test {

namespace {

// What the capture of a body ends in, and the number of what it recorded.
struct Captured {
  cudaError_t inside, end;
  size_t nodes;
};
Captured capture(const std::function<cudaError_t(cudaStream_t)>& body) {
  const Stream stream;
  Captured captured{};
  PIXELCNN_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
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

}  // namespace

void run_runtime(Cases& cases) {
  cases.run("impossible grid", "a grid of 0 x 1 x 1",
            [] { count_levels(nullptr, nullptr, 0, Plant::kNone); });
  cases.run("an error that stays", "failed as told to", [] {
    const Buffer<float> from(std::vector<float>(4), "from"), to(4, "to");
    emulator::options.failing_launch = 2;
    copy_vector(from, to, Plant::kNone);
    expect(cudaGetLastError() == cudaSuccess, "the first launch");
    copy_vector(from, to, Plant::kNone);
    expect(cudaGetLastError() == cudaErrorLaunchFailure && cudaGetLastError() == cudaErrorLaunchFailure,
           "sticky");
    size_t free = 0, total = 0;
    expect(cudaMemGetInfo(&free, &total) == cudaErrorLaunchFailure, "after a sticky error");
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
    expect(to.read()[0] == 3, "first launch");
    PIXELCNN_CUDA(cudaGraphLaunch(executable, stream));
    expect(to.read()[0] == 0, "second launch");
    PIXELCNN_CUDA(cudaGraphExecDestroy(executable));
  });
  const struct {
    const char* name;
    cudaError_t (*body)(cudaStream_t);
  } forbidden[] = {
      {"allocation",
       [](cudaStream_t) {
         void* memory;
         return cudaMalloc(&memory, 4);
       }},
      {"release", [](cudaStream_t) { return cudaFree(nullptr); }},
      {"page-locked allocation",
       [](cudaStream_t) {
         void* memory;
         return cudaHostAlloc(&memory, 4, cudaHostAllocDefault);
       }},
      {"stream synchronisation", [](cudaStream_t stream) { return cudaStreamSynchronize(stream); }},
      {"device synchronisation", [](cudaStream_t) { return cudaDeviceSynchronize(); }},
      {"default stream", [](cudaStream_t) { return cudaMemset(nullptr, 0, 0); }},
  };
  for (const auto& call : forbidden) {
    cases.run(std::string(call.name) + " under capture", "", [&] {
      const Captured captured = capture(call.body);
      expect(captured.inside == cudaErrorStreamCaptureUnsupported, "inside");
      expect(captured.end == cudaErrorStreamCaptureInvalidated, "end");
    });
  }
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

void run_clock(Cases& cases) {
  // Milliseconds that the events around a body tell. It may launch ten kernels.
  using Launch = std::function<void()>;
  const auto time = [](const std::function<void(cudaStream_t, const Launch&)>& body, uint64_t host,
                       uint64_t device) {
    const Buffer<float> from(std::vector<float>(4), "from"), to(4, "to");
    const Stream stream;
    const Event begin, end;
    emulator::options.host_nanoseconds = host;
    emulator::options.device_nanoseconds = device;
    PIXELCNN_CUDA(cudaEventRecord(begin, stream));
    body(stream, [&] {
      for (int i = 0; i < 10; ++i) copy_vector(from, to, Plant::kNone, stream);
    });
    PIXELCNN_CUDA(cudaEventRecord(end, stream));
    emulator::options.host_nanoseconds = emulator::options.device_nanoseconds = 0;
    PIXELCNN_CUDA(cudaEventSynchronize(end));
    float milliseconds = 0;
    PIXELCNN_CUDA(cudaEventElapsedTime(&milliseconds, begin, end));
    return milliseconds;
  };
  const auto once = [](cudaStream_t, const Launch& launch) { launch(); };
  cases.run("clock: stands still unless told otherwise", "", [&] { expect(time(once, 0, 0) == 0, "time"); });
  cases.run("clock: many launches take the host's time", "",
            [&] { expect(time(once, 10'000, 1'000) == 0.101f, "time"); });
  cases.run("clock: kernels that take longer than their launches", "",
            [&] { expect(time(once, 10'000, 100'000) == 1.01f, "time"); });
  cases.run("clock: a graph is one launch, and its capture none", "", [&] {
    const auto in_graph = [](cudaStream_t stream, const Launch& launch) {
      PIXELCNN_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
      launch();
      cudaGraph_t graph = nullptr;
      PIXELCNN_CUDA(cudaStreamEndCapture(stream, &graph));
      cudaGraphExec_t executable = nullptr;
      PIXELCNN_CUDA(cudaGraphInstantiate(&executable, graph));
      PIXELCNN_CUDA(cudaGraphLaunch(executable, stream));
      PIXELCNN_CUDA(cudaGraphExecDestroy(executable));
      PIXELCNN_CUDA(cudaGraphDestroy(graph));
    };
    expect(time(in_graph, 10'000, 1'000) == 0.02f, "time");
  });
  cases.run("clock: a wait takes the host to the end of what it waits for", "", [&] {
    const auto with_wait = [](cudaStream_t stream, const Launch& launch) {
      launch();
      PIXELCNN_CUDA(cudaStreamSynchronize(stream));
      launch();
    };
    expect(time(with_wait, 10'000, 100'000) == 2.02f, "stream");
    const auto with_device_wait = [](cudaStream_t, const Launch& launch) {
      launch();
      PIXELCNN_CUDA(cudaDeviceSynchronize());
      launch();
    };
    expect(time(with_device_wait, 10'000, 100'000) == 2.02f, "device");
  });
  cases.run("clock: an event without timing", "made without timing", [] {
    const Event begin, end(cudaEventDisableTiming);
    float milliseconds = 0;
    PIXELCNN_CUDA(cudaEventRecord(begin));
    PIXELCNN_CUDA(cudaEventRecord(end));
    PIXELCNN_CUDA(cudaEventElapsedTime(&milliseconds, begin, end));
  });
  cases.run("clock: an event that was never recorded", "never recorded", [] {
    const Event begin, end;
    float milliseconds = 0;
    PIXELCNN_CUDA(cudaEventElapsedTime(&milliseconds, begin, end));
  });
  cases.run("an event of what is done is ready", "", [] {
    const Stream stream;
    const Event event;
    expect(cudaEventQuery(event) == cudaSuccess, "never recorded");
    PIXELCNN_CUDA(cudaEventRecord(event, stream));
    PIXELCNN_CUDA(cudaEventSynchronize(event));
    expect(cudaEventQuery(event) == cudaSuccess && cudaStreamQuery(stream) == cudaSuccess, "done");
  });
}

}  // namespace emulator_test
