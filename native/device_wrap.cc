// Opens and closes devices for Node, and settles the Promises of their jobs. A device ends by dispose() or
// when its Node environment ends.
#include "device_wrap.h"

#include <exception>
#include <mutex>
#include <utility>

#include "backend_loader.h"
#include "cuda_backend.h"
#include "program.h"

namespace pixelcnn {

const napi_type_tag Device::kTag = {0x7069786c636e6e01, 0x9b1f6d20c3a84e11};

// Holds the thread-safe function. Jobs may finish after the environment has ended, so the notifier
// outlives the function and drops such calls.
struct Device::Notifier {
  std::mutex mutex;
  napi_threadsafe_function function = nullptr;

  void notify() {
    std::lock_guard lock(mutex);
    if (function != nullptr) napi_call_threadsafe_function(function, nullptr, napi_tsfn_nonblocking);
  }
  void end() {
    std::lock_guard lock(mutex);
    if (function != nullptr) napi_release_threadsafe_function(function, napi_tsfn_abort);
    function = nullptr;
  }
};

void PromiseJob::settle(Napi::Env env) {
  if (!deferred_) return;  // the environment ended before the job had a Promise
  // An environment that is ending (worker.terminate(), or process.exit() in a worker) still delivers this
  // call but refuses everything in it. Nobody waits for the Promise then, and no exception may reach
  // Node's event loop.
  try {
    if (error) {
      deferred_->Reject(to_js_error(env, *error).Value());
      return;
    }
    try {
      deferred_->Resolve(result(env));
    } catch (const Napi::Error& failure) {
      deferred_->Reject(failure.Value());
    } catch (const Error& failure) {
      deferred_->Reject(to_js_error(env, failure).Value());
    }
  } catch (const std::exception&) {
  }
}

namespace {

class OpenJob final : public PromiseJob {
 public:
  explicit OpenJob(std::function<std::shared_ptr<Backend>()> open) : open_(std::move(open)) {}
  void run(const std::atomic<bool>&) override { device().set_backend(open_()); }

 protected:
  Napi::Value result(Napi::Env env) override { return make_handle(env, device().shared_from_this()); }

 private:
  std::function<std::shared_ptr<Backend>()> open_;
};

}  // namespace

Napi::Promise Device::open(Napi::Env env, std::function<std::shared_ptr<Backend>()> open) {
  auto device = std::shared_ptr<Device>(new Device());
  device->env_ = env;
  device->notifier_ = std::make_shared<Notifier>();
  // The function holds a weak pointer to the device, because the device may be gone when a late call
  // arrives.
  auto context = std::make_unique<std::weak_ptr<Device>>(device);
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, "pixelcnn"), 0, 1, context.get(),
      [](napi_env, void* data, void*) {
        std::unique_ptr<std::weak_ptr<Device>>(static_cast<std::weak_ptr<Device>*>(data));
      },
      context.get(),
      [](napi_env call_env, napi_value, void* data, void*) {
        if (call_env == nullptr) return;
        if (auto self = static_cast<std::weak_ptr<Device>*>(data)->lock()) {
          Napi::HandleScope scope(call_env);
          self->settle_completed(call_env);
        }
      },
      &device->notifier_->function);
  PIXELCNN_CHECK(status == napi_ok, "ERR_INTERNAL", "could not create a thread-safe function");
  context.release();
  napi_unref_threadsafe_function(env, device->notifier_->function);
  device->executor_ = std::make_unique<Executor>([notifier = device->notifier_] { notifier->notify(); });
  // Cleanup hooks run in reverse order: registered after the thread-safe function's own hook, this one
  // runs first.
  napi_add_env_cleanup_hook(env, at_environment_end, device.get());
  return device->submit(env, std::make_unique<OpenJob>(std::move(open)));
}

void Device::at_environment_end(void* device) {
  // Keeps the device alive: its last owner may be a job that is dropped here.
  const auto keep = static_cast<Device*>(device)->shared_from_this();
  keep->shut_down();
}

Device::~Device() {
  // If `open` failed before there was an executor, no hook was registered.
  if (executor_ != nullptr) napi_remove_env_cleanup_hook(env_, at_environment_end, this);
  if (notifier_ != nullptr) shut_down();
}

void Device::shut_down() {
  closed_ = true;
  if (executor_ != nullptr) {
    executor_->stop();
    // Jobs that have run but were not collected may own this device; destroying them here breaks the
    // cycle.
    executor_->collect();
  }
  notifier_->end();
}

Napi::Promise Device::submit(Napi::Env env, std::unique_ptr<PromiseJob> job) {
  PIXELCNN_CHECK(!closed_, "ERR_DISPOSED", "the device has been disposed");
  PromiseJob& submitted = *job;  // stays valid: only this thread destroys jobs
  job->device_ = shared_from_this();
  executor_->submit(std::move(job));
  return begin(env, submitted);
}

Napi::Promise Device::begin(Napi::Env env, PromiseJob& job) {
  if (pending_++ == 0) napi_ref_threadsafe_function(env, notifier_->function);
  return job.begin(env);
}

void Device::settle_completed(Napi::Env env) {
  // Settling a Promise runs no JavaScript, so nothing re-enters the device here.
  const auto keep = shared_from_this();
  for (auto& job : executor_->collect()) {
    static_cast<PromiseJob*>(job.get())->settle(env);
    if (--pending_ == 0) napi_unref_threadsafe_function(env, notifier_->function);
  }
}

void Device::add_arena(const std::shared_ptr<Arena>& arena) {
  std::erase_if(arenas_, [](const auto& known) { return known.expired(); });
  arenas_.push_back(arena);
}

void Device::close_backend() {
  for (const auto& known : arenas_) {
    if (const auto arena = known.lock()) arena->free();
  }
  arenas_.clear();
  backend_->close();
}

namespace {

class CloseJob final : public PromiseJob {
 public:
  void run(const std::atomic<bool>&) override { device().close_backend(); }

 protected:
  Napi::Value result(Napi::Env env) override {
    device().end_executor();
    return env.Undefined();
  }
};

}  // namespace

Napi::Promise Device::close(Napi::Env env) {
  PIXELCNN_CHECK(!closed_, "ERR_DISPOSED", "the device has been disposed");
  closed_ = true;
  std::unique_ptr<PromiseJob> job = std::make_unique<CloseJob>();
  job->device_ = shared_from_this();
  PromiseJob& submitted = *job;
  executor_->close(std::move(job));
  return begin(env, submitted);
}

Napi::Value open_device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::string backend = string_argument(info, 0, "backend");
    const int64_t index = integer_argument(info, 1, "index", 0, 1023);
    const int64_t threads = integer_argument(info, 2, "threads", 0, 1024);
    const std::string instruction_set = string_argument(info, 3, "instructionSet");
    return Device::open(info.Env(), [=] {
      return open_backend(backend, static_cast<int>(index), static_cast<int>(threads), instruction_set);
    });
  });
}

Napi::Value device_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto device = handle_of<Device>(info[0], "device");
    const BackendInfo& backend = device->backend()->info();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("backend", backend.backend);
    result.Set("name", backend.name);
    result.Set("instructionSet", backend.instruction_set);
    result.Set("threads", backend.threads);
    result.Set("cudnn", backend.cudnn);
    result.Set("recording", device->backend()->recording());
    Napi::Array precisions = Napi::Array::New(info.Env());
    for (const Precision precision : {Precision::kF32, Precision::kTf32, Precision::kBf16, Precision::kF16}) {
      const auto number = static_cast<double>(precision);
      if (device->backend()->supports(precision)) precisions.Set(precisions.Length(), number);
    }
    result.Set("precisions", precisions);
    result.Set("packsOnce", device->backend()->packs_once());
    result.Set("sums", backend.sums);
    return result;
  });
}

Napi::Value cudnn_report(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const CudnnReport report = report_cudnn();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("version", report.version);
    result.Set("path", report.path);
    result.Set("code", report.code);
    result.Set("message", report.message);
    result.Set("remedy", report.remedy);
    result.Set("attempts", report.attempts);
    return result;
  });
}

Napi::Value close_device(const Napi::CallbackInfo& info) {
  return guarded(info.Env(),
                 [&]() -> Napi::Value { return handle_of<Device>(info[0], "device")->close(info.Env()); });
}

Napi::Value packed_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto device = handle_of<Device>(info[0], "device");
    const std::span<const int32_t> wire = int32_array_argument(info, 1, "filter");
    const int64_t direction = integer_argument(info, 2, "direction", 0, 1);
    const FilterShape filter = decode_filter(wire);
    PIXELCNN_CHECK(
        device->backend()->supports(filter.precision), "ERR_PROGRAM",
        "this device does not compute in precision " + std::to_string(static_cast<int>(filter.precision)));
    return Napi::Number::New(info.Env(), static_cast<double>(device->backend()->packed_bytes(
                                             filter, static_cast<Direction>(direction))));
  });
}

}  // namespace pixelcnn
