// Defines an opened GPU: its stream, memory, copies and recorded programs. The ops themselves are in the
// files named after them.
#pragma once
#include <cuda_runtime.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../native/cuda_api.h"
#include "check.h"
#include "cudnn/plans.h"
#include "handles.h"
#include "launch.h"
#include "staging.h"

namespace pixelcnn {

// A program's second run is captured into a CUDA graph, which later runs launch.
struct CudaReplay {
  cuda::GraphExecutable graph;
  std::byte* workspace = nullptr;  // the workspace that the graph was captured with
  bool has_run = false;
  bool capturing = false;
  std::string refusal;  // why the program cannot be captured and always runs op by op; empty if it can
};

// Devices of one GPU hold this lock, in the whole process, while they capture programs, search for plans,
// or open and close cuDNN, because CUDA forbids some calls on all threads while a stream of the GPU is
// captured. Training steps of another device may run during a search for plans, which then times them too.
std::mutex& mutex_of_gpu(int index);

class CudaDevice {
 public:
  // Tries cuDNN in a child process, if the process has not used CUDA before (cudnn/loader.h).
  CudaDevice(int32_t index, CudaDeviceInfo& info);
  ~CudaDevice() { close(); }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  void* allocate(int64_t bytes);
  void release(void* memory);
  void write(void* device, const void* host, int64_t bytes) { staging_->write(device, host, bytes); }
  void read(void* host, const void* device, int64_t bytes) { staging_->read(host, device, bytes); }
  void reserve_workspace(int64_t bytes);
  // Frees all memory. What is released later is freed with the device object.
  void close();
  uint64_t fence() { return staging_->fence(); }
  bool reached(uint64_t fence);
  void wait(uint64_t fence) { staging_->wait(fence); }

  void release_replay(CudaReplay* replay);
  bool replay(CudaReplay& replay);
  void begin_recording(CudaReplay& replay);
  // Returns false if the recording cannot be made into a graph; none of its ops has run then.
  bool end_recording(CudaReplay& replay);
  bool cancel_recording(CudaReplay& replay, const std::string& error);
  // Returns "graphs", or why programs run op by op. Any thread may call it.
  std::string recording() const;

  bool supports(Precision precision) const { return cuda::supports(gpu_.compute_capability, precision); }
  template <class Op>
  int64_t workspace(const Op& op) {
    std::unique_lock<std::mutex> alone;
    if (gpu_.cudnn != nullptr && searches_plans(op)) alone = plan_alone();
    return cuda::workspace(op, gpu_);
  }
  template <class Op>
  void run(const Op& op) {
    cuda::run(op, {stream_.get(), workspace_, gpu_.multiprocessors, gpu_.cudnn});
    PIXELCNN_CUDA(cudaGetLastError());
    if (synchronous_) PIXELCNN_CUDA(cudaStreamSynchronize(stream_.get()));
  }

  // Makes this GPU the calling thread's current one. Throws ERR_DEVICE_LOST once the device is lost.
  void enter();
  // Called after a call that failed: drops unfinished copies and finds out whether the device still works.
  void leave_failed(const Error& error);

 private:
  // Whether cuDNN may choose how to run an op. A head chooses for its convolutions in training.
  template <class Op>
  static bool searches_plans(const Op& op) {
    if constexpr (requires { op.shape.algorithm; })
      return op.shape.algorithm != Algorithm::kDirect;
    else if constexpr (requires { op.training(); })
      return op.training();
    else
      return false;
  }

  void free_released();
  std::unique_lock<std::mutex> plan_alone();
  bool refuse(CudaReplay& replay, const std::string& reason);

  int32_t index_;
  cuda::Gpu gpu_{};
  cuda::Stream stream_;
  std::unique_ptr<cuda::Staging> staging_;
  std::unique_ptr<cuda::Cudnn> cudnn_;
  std::byte* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
  bool graphs_;
  bool synchronous_;
  bool lost_ = false;
  // Held while a program is captured.
  std::unique_lock<std::mutex> capture_;

  mutable std::mutex refusals_mutex_;
  int refusals_ = 0;
  std::string last_refusal_;

  // Any thread may release memory; the executor thread frees it.
  std::mutex released_mutex_;
  std::vector<void*> released_;
  std::vector<std::unique_ptr<CudaReplay>> released_replays_;
};

}  // namespace pixelcnn
