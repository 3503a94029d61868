// Holds the state of the emulated CUDA runtime, and the code that all its functions begin and end with.
#pragma once
#include <cuda_runtime.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "emulator.h"

namespace emulator {

struct Runtime {
  std::recursive_mutex mutex;           // held by every function, so also while a kernel runs
  cudaError_t sticky = cudaSuccess;     // once set, the answer to every call until cudaDeviceReset
  cudaError_t explained = cudaSuccess;  // the latest error, and its story
  std::string explanation;
  bool told = false;                           // by the function that runs
  int handles = 0;                             // streams and events
  std::map<const void*, size_t> shared_bytes;  // dynamic, that kernels may use where more than 48 KB
};
// Never destroyed: other threads may still call while the process ends.
Runtime& runtime();

// A status with its story, which cudaGetErrorString tells.
cudaError_t refuse(cudaError_t status, const std::string& explanation);
// The same, for good.
cudaError_t lose_device(cudaError_t status, const std::string& explanation);
// Appends a line to the file of options.log.
void log_launch(const std::string& line);
// Host code that was built with checks has touched device memory.
void host_access(const void* memory, const void* code);

// The error that cudaGetLastError gives to this thread.
extern constinit thread_local cudaError_t last_error;

// Whether a call may be made while a stream captures.
enum class InCapture {
  kAllowed,
  kUnsafe,     // not by the thread that captures, nor by any where the capture's mode is global
  kForbidden,  // by no thread, whatever the mode
};
// Spoils the captures that forbid this thread such a call; false if there is none.
bool spoil_captures(InCapture in_capture);

// Runs the body of a function of CUDA's.
template <class Body>
cudaError_t call(const char* name, InCapture in_capture, const Body& body) {
  std::lock_guard lock(runtime().mutex);
  cudaError_t status = runtime().sticky;
  if (status == cudaSuccess) {
    runtime().told = false;
    if (options.refused_call != nullptr && std::strcmp(options.refused_call, name) == 0)
      status = cudaErrorMemoryAllocation;
    else if (spoil_captures(in_capture))
      status = cudaErrorStreamCaptureUnsupported;
    else
      status = body();
    // What ran meanwhile may have failed.
    if (runtime().sticky != cudaSuccess) status = runtime().sticky;
    if (status != cudaSuccess && !runtime().told) refuse(status, name);
  }
  if (status != cudaSuccess) last_error = status;
  return status;
}

}  // namespace emulator
