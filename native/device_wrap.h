// Devices as Node sees them: handles, and jobs whose Promises settle on the JavaScript thread.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "backend.h"
#include "executor.h"
#include "napi_values.h"

namespace pixelcnn {

class Device;

// A job with the Promise it settles. `result` is called on the JavaScript thread after a run without error.
class PromiseJob : public Job {
 public:
  // Called once the executor has taken the job: the Promise of a job it refused would never settle, nor be
  // freed.
  Napi::Promise begin(Napi::Env env) { return deferred_.emplace(env).Promise(); }
  void settle(Napi::Env env);

 protected:
  virtual Napi::Value result(Napi::Env env) = 0;
  Device& device() const { return *device_; }

 private:
  friend class Device;
  std::optional<Napi::Promise::Deferred> deferred_;
  std::shared_ptr<Device> device_;  // its own, which lives until the job has settled
};

// A backend, its executor, and the thread-safe function through which finished jobs come back to this
// environment. Used on the JavaScript thread only, except where it says otherwise.
class Device : public std::enable_shared_from_this<Device> {
 public:
  static const napi_type_tag kTag;
  static constexpr const char* kName = "Device";

  // Resolves with the handle of a new device. `open` runs on the executor's thread: a GPU's start takes
  // seconds.
  static Napi::Promise open(Napi::Env env, std::function<std::shared_ptr<Backend>()> open);
  ~Device();

  const std::shared_ptr<Backend>& backend() const { return backend_; }
  bool closed() const { return closed_; }
  // Queues the job and returns its Promise. Throws ERR_DISPOSED, ERR_QUEUE_FULL.
  Napi::Promise submit(Napi::Env env, std::unique_ptr<PromiseJob> job);
  // Refuses queued work, lets the work in progress end, then resolves.
  Napi::Promise close(Napi::Env env);
  // Executor thread: the backend once it is open, an arena to free when the device closes, and the end of all
  // its memory and threads.
  void set_backend(std::shared_ptr<Backend> backend) { backend_ = std::move(backend); }
  void add_arena(const std::shared_ptr<Arena>& arena);
  void close_backend();
  // JavaScript thread again, after that: the executor's own thread. The device object may live on until it is
  // collected as garbage.
  void end_executor() { executor_->stop(); }

 private:
  struct Notifier;
  Device() = default;
  Napi::Promise begin(Napi::Env env, PromiseJob& job);
  void settle_completed(Napi::Env env);
  void shut_down();
  static void at_environment_end(void* device);

  std::shared_ptr<Backend> backend_;
  std::shared_ptr<Notifier> notifier_;
  std::unique_ptr<Executor> executor_;
  std::vector<std::weak_ptr<Arena>> arenas_;
  napi_env env_ = nullptr;
  size_t pending_ = 0;
  bool closed_ = false;
};

// The functions that addon.cc exports.
// (backend, index, threads, instructionSet) -> Promise<Device>
Napi::Value open_device(const Napi::CallbackInfo& info);
// (device) -> { backend, name, instructionSet, threads, cudnn, recording, precisions (numbers of ops.h) }
Napi::Value device_info(const Napi::CallbackInfo& info);
// () -> { version, path, code, message, remedy, attempts }, what there is of cuDNN
Napi::Value cudnn_report(const Napi::CallbackInfo& info);
// (device) -> Promise<void>
Napi::Value close_device(const Napi::CallbackInfo& info);
// (device, shape Int32Array(10), direction) -> number
Napi::Value packed_bytes(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
