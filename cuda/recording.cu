// Records a program's ops as a CUDA graph and launches the graph when the program runs again.
#include <string>

#include "backend.h"

namespace pixelcnn {

bool CudaDevice::replay(CudaReplay& replay) {
  if (replay.graph == nullptr) return false;
  if (replay.workspace != workspace_) {
    // Another program has enlarged the workspace since, so the graph's pointers are stale: capture again.
    PIXELCNN_CUDA(cudaStreamSynchronize(stream_.get()));
    replay.graph.reset();
    return false;
  }
  PIXELCNN_CUDA(cudaGraphLaunch(replay.graph.get(), stream_.get()));
  return true;
}

// Called if a program could not be captured; none of its ops has run. Returns true if it can run op by op,
// and false if the GPU itself has failed.
bool CudaDevice::refuse(CudaReplay& replay, const std::string& reason) {
  lost_ = cuda::is_sticky(cudaStreamQuery(stream_.get()));
  static_cast<void>(cudaGetLastError());
  if (lost_) return false;
  replay.refusal = reason;
  const std::lock_guard lock(refusals_mutex_);
  ++refusals_;
  last_refusal_ = reason;
  return true;
}

void CudaDevice::begin_recording(CudaReplay& replay) {
  if (!graphs_ || synchronous_ || !replay.has_run || !replay.refusal.empty()) return;
  capture_ = std::unique_lock(mutex_of_gpu(index_));
  const cudaError_t status = cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal);
  replay.capturing = status == cudaSuccess;
  if (replay.capturing) return;
  capture_.unlock();
  if (!refuse(replay, cudaGetErrorString(status))) cuda::check_cuda(status, "cudaStreamBeginCapture");
}

bool CudaDevice::end_recording(CudaReplay& replay) {
  replay.has_run = true;
  if (!replay.capturing) return true;
  replay.capturing = false;
  cudaGraph_t captured = nullptr;
  cudaError_t status = cudaStreamEndCapture(stream_.get(), &captured);
  capture_.unlock();
  const cuda::CapturedGraph graph(captured);
  cudaGraphExec_t executable = nullptr;
  if (status == cudaSuccess) status = cudaGraphInstantiate(&executable, captured, 0);
  replay.graph.reset(executable);
  if (status == cudaSuccess) status = cudaGraphLaunch(executable, stream_.get());
  if (status == cudaSuccess) {
    replay.workspace = workspace_;
    return true;
  }
  replay.graph.reset();
  if (!refuse(replay, cudaGetErrorString(status))) cuda::check_cuda(status, "cudaGraphLaunch");
  return false;
}

bool CudaDevice::cancel_recording(CudaReplay& replay, const std::string& error) {
  if (!replay.capturing) return true;
  replay.capturing = false;
  cudaGraph_t captured = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream_.get(), &captured));
  capture_.unlock();
  const cuda::CapturedGraph graph(captured);
  return !refuse(replay, error);
}

std::string CudaDevice::recording() const {
  if (!graphs_) return "op by op: PIXELCNN_GRAPHS=0";
  if (synchronous_) return "op by op: PIXELCNN_SYNC=1";
  const std::lock_guard lock(refusals_mutex_);
  if (refusals_ == 0) return "graphs";
  return "graphs, but op by op where programs cannot be captured (" + std::to_string(refusals_) +
         " so far): " + last_refusal_;
}

}  // namespace pixelcnn
