// Tests the deferred mode, in which work is done when it is waited for and rarely earlier, so that a
// program that waits too little gets wrong results.
#include <algorithm>

#include "harness.h"
#include "planted.h"

namespace emulator_test {

namespace {

constexpr int kSeeds = 100;
using Floats = std::vector<float>;

class PageLocked {
 public:
  explicit PageLocked(float value) {
    PIXELCNN_CUDA(cudaHostAlloc(reinterpret_cast<void**>(&data_), kBytes, cudaHostAllocDefault));
    fill(value);
  }
  ~PageLocked() { static_cast<void>(cudaFreeHost(data_)); }
  PageLocked(const PageLocked&) = delete;
  operator float*() const { return data_; }
  void fill(float value) const { std::fill_n(data_, 4, value); }
  bool holds(float value) const { return std::count(data_, data_ + 4, value) == 4; }

  static constexpr size_t kBytes = 16;

 private:
  float* data_ = nullptr;
};

void upload(float* device, const float* host, cudaStream_t stream) {
  PIXELCNN_CUDA(cudaMemcpyAsync(device, host, PageLocked::kBytes, cudaMemcpyHostToDevice, stream));
}
void download(float* host, const float* device, cudaStream_t stream) {
  PIXELCNN_CUDA(cudaMemcpyAsync(host, device, PageLocked::kBytes, cudaMemcpyDeviceToHost, stream));
}

// In how many of the schedules `body` is true.
int count(const std::function<bool()>& body) {
  int times = 0;
  const uint64_t before = emulator::options.deferred;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    emulator::options.deferred = seed;
    times += body() ? 1 : 0;
    PIXELCNN_CUDA(cudaDeviceSynchronize());
  }
  emulator::options.deferred = before;
  return times;
}
void expect_always(const std::string& what, const std::function<bool()>& body) {
  const int times = count(body);
  expect(times == kSeeds, what + " in " + std::to_string(times) + " of " + std::to_string(kSeeds));
}
void expect_at_times(const std::string& what, const std::function<bool()>& body) {
  const int times = count(body);
  expect(times >= kSeeds / 10 && times <= kSeeds * 9 / 10,
         what + " in " + std::to_string(times) + " of " + std::to_string(kSeeds));
}

// Two steps that stage what they upload in one block of page-locked memory. Without the wait the second
// overwrites what the first may not have uploaded yet.
bool staged_right(bool wait_for_fence, bool in_graph) {
  const Stream stream;
  const Event fence(cudaEventDisableTiming);
  const PageLocked staging(1), result(0);
  const Buffer<float> from(4, "from"), to(4, "to");
  const auto enqueue = [&] {
    upload(from, staging, stream);
    copy_vector(from, to, Plant::kNone, stream);
    download(result, to, stream);
  };
  cudaGraphExec_t executable = nullptr;
  if (in_graph) {
    cudaGraph_t graph = nullptr;
    PIXELCNN_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    enqueue();
    PIXELCNN_CUDA(cudaStreamEndCapture(stream, &graph));
    PIXELCNN_CUDA(cudaGraphInstantiate(&executable, graph));
    PIXELCNN_CUDA(cudaGraphDestroy(graph));
    PIXELCNN_CUDA(cudaGraphLaunch(executable, stream));
  } else {
    enqueue();
  }
  PIXELCNN_CUDA(cudaEventRecord(fence, stream));
  if (wait_for_fence) PIXELCNN_CUDA(cudaEventSynchronize(fence));
  staging.fill(2);
  PIXELCNN_CUDA(cudaEventSynchronize(fence));
  if (executable != nullptr) PIXELCNN_CUDA(cudaGraphExecDestroy(executable));
  return result.holds(1);
}

}  // namespace

void run_deferred(Cases& cases) {
  for (const bool in_graph : {false, true}) {
    const std::string name = in_graph ? ", in a graph" : "";
    cases.run("deferred: staging reused after its fence" + name, "",
              [&] { expect_always("right", [&] { return staged_right(true, in_graph); }); });
    cases.run("deferred: staging reused before its fence" + name, "",
              [&] { expect_at_times("right", [&] { return staged_right(false, in_graph); }); });
  }
  cases.run("deferred: a copy to page-locked memory is there when waited for", "", [] {
    const auto arrives = [](cudaError_t (*wait)(cudaStream_t, cudaEvent_t)) {
      const Stream stream;
      const Event event;
      const PageLocked host(0);
      const Buffer<float> device(Floats(4, 1.f), "device");
      download(host, device, stream);
      PIXELCNN_CUDA(cudaEventRecord(event, stream));
      PIXELCNN_CUDA(wait(stream, event));
      return host.holds(1);
    };
    const auto nothing = [](cudaStream_t, cudaEvent_t) { return cudaSuccess; };
    const auto stream = [](cudaStream_t s, cudaEvent_t) { return cudaStreamSynchronize(s); };
    const auto event = [](cudaStream_t, cudaEvent_t e) { return cudaEventSynchronize(e); };
    const auto device = [](cudaStream_t, cudaEvent_t) { return cudaDeviceSynchronize(); };
    const auto polled_stream = [](cudaStream_t s, cudaEvent_t) {
      cudaError_t status = cudaErrorNotReady;
      while (status == cudaErrorNotReady) status = cudaStreamQuery(s);
      static_cast<void>(cudaGetLastError());  // an answer of "not ready" is kept, too
      return status;
    };
    const auto polled_event = [](cudaStream_t, cudaEvent_t e) {
      cudaError_t status = cudaErrorNotReady;
      while (status == cudaErrorNotReady) status = cudaEventQuery(e);
      static_cast<void>(cudaGetLastError());  // an answer of "not ready" is kept, too
      return status;
    };
    expect_at_times("no wait", [&] { return arrives(nothing); });
    expect_always("stream", [&] { return arrives(stream); });
    expect_always("event", [&] { return arrives(event); });
    expect_always("device", [&] { return arrives(device); });
    expect_always("polled stream", [&] { return arrives(polled_stream); });
    expect_always("polled event", [&] { return arrives(polled_event); });
  });
  cases.run("deferred: an event is not ready before what it follows is done", "", [] {
    bool early = false;
    expect_at_times("ready", [&] {
      const Stream stream;
      const Event begin, end;
      const PageLocked host(0);
      const Buffer<float> device(Floats(4, 1.f), "device");
      PIXELCNN_CUDA(cudaEventRecord(begin, stream));
      download(host, device, stream);
      PIXELCNN_CUDA(cudaEventRecord(end, stream));
      float milliseconds = 0;
      const bool timed = cudaEventElapsedTime(&milliseconds, begin, end) == cudaSuccess;
      early = early || (timed && !host.holds(1));
      const bool ready = cudaEventQuery(end) == cudaSuccess;
      early = early || (ready && !host.holds(1));
      static_cast<void>(cudaGetLastError());
      return ready;
    });
    expect(!early, "ready or timed too early");
  });
  cases.run("deferred: a stream works in order", "", [] {
    expect_always("in order", [] {
      const Stream stream;
      const PageLocked ones(1), first(0), second(0);
      const Buffer<float> from(4, "from"), to(4, "to");
      upload(from, ones, stream);
      copy_vector(from, to, Plant::kNone, stream);
      download(first, to, stream);
      PIXELCNN_CUDA(cudaMemsetAsync(from, 0, PageLocked::kBytes, stream));
      copy_vector(from, to, Plant::kNone, stream);
      download(second, to, stream);
      PIXELCNN_CUDA(cudaStreamSynchronize(stream));
      return first.holds(1) && second.holds(0);
    });
  });
  cases.run("deferred: streams are in no order with each other", "", [] {
    expect_at_times("the second last", [] {
      const Stream first, second;
      const PageLocked ones(1), twos(2);
      const Buffer<float> device(4, "device");
      upload(device, ones, first);
      upload(device, twos, second);
      PIXELCNN_CUDA(cudaDeviceSynchronize());
      return device.read()[0] == 2;
    });
  });
  cases.run("deferred: pageable memory may be used again at once", "", [] {
    expect_always("source", [] {
      const Stream stream;
      Floats pageable(4, 1.f);
      const Buffer<float> device(4, "device");
      upload(device, pageable.data(), stream);
      std::fill(pageable.begin(), pageable.end(), 2.f);
      PIXELCNN_CUDA(cudaStreamSynchronize(stream));
      return device.read()[0] == 1;
    });
    expect_always("target", [] {
      const Stream stream;
      Floats pageable(4);
      const Buffer<float> device(Floats(4, 1.f), "device");
      download(pageable.data(), device, stream);
      return pageable[0] == 1;
    });
  });
  cases.run("deferred: who gives memory back waits for what uses it", "", [] {
    expect_always("device", [] {
      const Stream stream;
      const PageLocked result(0);
      {
        const Buffer<float> from(Floats(4, 1.f), "from"), to(4, "to");
        copy_vector(from, to, Plant::kNone, stream);
        download(result, to, stream);
      }
      return result.holds(1);
    });
    expect_always("page-locked", [] {
      const Stream stream;
      const Buffer<float> device(4, "device");
      upload(device, PageLocked(1), stream);
      return device.read()[0] == 1;
    });
  });
  cases.run("deferred: a graph that uses memory given back", "page-locked memory that was released", [] {
    const Stream stream;
    const Buffer<float> device(4, "device");
    PIXELCNN_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    upload(device, PageLocked(1), stream);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    PIXELCNN_CUDA(cudaStreamEndCapture(stream, &graph));
    PIXELCNN_CUDA(cudaGraphInstantiate(&executable, graph));
    const cudaError_t status = cudaGraphLaunch(executable, stream);
    PIXELCNN_CUDA(cudaGraphExecDestroy(executable));
    PIXELCNN_CUDA(cudaGraphDestroy(graph));
    PIXELCNN_CUDA(status);
  });
  cases.run("deferred: the work of a stream that is destroyed is done", "", [] {
    const PageLocked host(0);
    expect_always("done", [&] {
      host.fill(0);
      const Buffer<float> device(Floats(4, 1.f), "device");
      download(host, device, Stream());
      PIXELCNN_CUDA(cudaDeviceSynchronize());
      return host.holds(1);
    });
  });
  cases.run("deferred: a failure is seen by a later call", "", [] {
    const auto launch = [](cudaError_t (*call_after_launch)()) {
      cudaError_t seen = cudaSuccess;
      {
        const Buffer<float> from(Floats(4), "from"), to(4, "to");
        emulator::options.failing_launch = 1;
        copy_vector(from, to, Plant::kNone);
        seen = call_after_launch();
        static_cast<void>(cudaDeviceSynchronize());
      }
      PIXELCNN_CUDA(cudaDeviceReset());
      return seen == cudaErrorLaunchFailure;
    };
    expect_always("seen by the wait", [&] { return launch(cudaDeviceSynchronize); });
    expect_at_times("seen by the launch", [&] { return launch(cudaGetLastError); });
  });
}

}  // namespace emulator_test
