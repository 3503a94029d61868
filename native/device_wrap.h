// Lets Node open and close devices, and runs jobs whose Promises settle on the JavaScript thread.
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

// A job and its Promise. After a run without error, `result` is called on the JavaScript thread.
class PromiseJob : public Job {
 public:
  // Called only once the executor has accepted the job: the Promise of a refused job would never settle
  // and never be freed.
  Napi::Promise begin(Napi::Env env) { return deferred_.emplace(env).Promise(); }
  void settle(Napi::Env env);

 protected:
  virtual Napi::Value result(Napi::Env env) = 0;
  Device& device() const { return *device_; }

 private:
  friend class Device;
  std::optional<Napi::Promise::Deferred> deferred_;
  std::shared_ptr<Device> device_;  // keeps the device alive until the job has settled
};

// A backend, its executor, and the thread-safe function through which finished jobs come back to this Node
// environment. It is used on the JavaScript thread only, except where a comment says otherwise.
class Device : public std::enable_shared_from_this<Device> {
 public:
  static const napi_type_tag kTag;
  static constexpr const char* kName = "Device";

  // Resolves with the handle of a new device. `open` runs on the executor's thread, because starting a GPU
  // takes seconds.
  static Napi::Promise open(Napi::Env env, std::function<std::shared_ptr<Backend>()> open);
  ~Device();

  const std::shared_ptr<Backend>& backend() const { return backend_; }
  bool closed() const { return closed_; }
  // Queues the job and returns its Promise. Throws ERR_DISPOSED, ERR_QUEUE_FULL.
  Napi::Promise submit(Napi::Env env, std::unique_ptr<PromiseJob> job);
  // Refuses the queued jobs, waits for the running one, and then resolves.
  Napi::Promise close(Napi::Env env);
  // The executor thread calls these three: they set the opened backend, register an arena to free when the
  // device closes, and free all memory and threads.
  void set_backend(std::shared_ptr<Backend> backend) { backend_ = std::move(backend); }
  void add_arena(const std::shared_ptr<Arena>& arena);
  void close_backend();
  // Called on the JavaScript thread after close_backend: ends the executor's thread. The device object
  // itself lives on until JavaScript garbage collects its handle.
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

// These functions are exported by addon.cc.
// (backend, index, threads, instructionSet) -> Promise<Device>
Napi::Value open_device(const Napi::CallbackInfo& info);
// (device) -> { backend, name, instructionSet, threads, cudnn, recording, precisions (numbers of
// op_shapes.h), packsOnce, sums }
Napi::Value device_info(const Napi::CallbackInfo& info);
// () -> { version, path, code, message, remedy, attempts }, which describe the cuDNN of this machine
Napi::Value cudnn_report(const Napi::CallbackInfo& info);
// (device) -> Promise<void>
Napi::Value close_device(const Napi::CallbackInfo& info);
// (device, filter Int32Array of the numbers in `filterFields`, direction) -> number
Napi::Value packed_bytes(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
