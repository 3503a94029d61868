// Tests the model clock: the times that events measure for launches and graphs.
#include "harness.h"
#include "planted.h"

namespace emulator_test {

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
}

}  // namespace emulator_test
