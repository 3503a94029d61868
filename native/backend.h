// Defines what a backend must provide: memory, copies, and one function per op of the op table.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "ops.h"

namespace pixelcnn {

struct BackendInfo {
  std::string backend;          // "cpu" or "cuda"
  std::string name;             // the processor's name
  std::string instruction_set;  // that the kernels are compiled for: "avx512", "sm_90"
  int threads = 1;
  std::string cudnn;  // its version, or why it is not used; empty on the CPU
  int sums = 0;       // kSumsVersion of its kernels (native/cpu/kernels.h, cuda/launch.h)
};

// Lets a backend run a program again without walking through its ops. Any thread may destroy it.
class Replay {
 public:
  virtual ~Replay() = default;
};

// All functions are called on the device's executor thread only, except `info`, `supports`,
// `packed_bytes`, `packs_once`, `recording` and `release`. A backend may compute at once, as the CPU does,
// or enqueue the work. Enqueued work reads and writes in the order of the calls, and its errors may be
// thrown by a later call.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const = 0;
  virtual bool supports(Precision precision) const = 0;

  virtual void* allocate(int64_t bytes) = 0;  // zeroed; throws ERR_OUT_OF_MEMORY
  virtual void release(void* memory) = 0;     // called on any thread; enqueued work may still use the memory
  virtual void write(void* device, const void* host, int64_t bytes) = 0;  // `host` may be reused on return
  virtual void read(void* host, const void* device,
                    int64_t bytes) = 0;  // filled once a later fence is reached
  virtual void reserve_workspace(int64_t bytes) = 0;
  virtual void close() = 0;  // frees threads and workspace; nothing may run afterwards

  // `fence` marks the end of everything enqueued so far; it returns 0 if all of it has run. `wait` returns
  // once that point is reached and all reads before it have filled their memory.
  virtual uint64_t fence() { return 0; }
  virtual bool reached(uint64_t /*fence*/) { return true; }
  virtual void wait(uint64_t /*fence*/) {}

  // A program runs the same ops every time, so a backend may record them. If `state` holds a recording,
  // `replay` runs it and returns true. Otherwise the caller runs the ops one by one between
  // `begin_recording` and `end_recording`; if an op throws, it calls `cancel_recording` instead. These two
  // return false if the ops cannot be recorded. None of the ops has then taken effect, and the caller runs
  // them again without recording.
  virtual bool replay(std::unique_ptr<Replay>& /*state*/) { return false; }
  virtual void begin_recording(std::unique_ptr<Replay>& /*state*/) {}
  virtual bool end_recording(std::unique_ptr<Replay>& /*state*/) { return true; }
  // Returns true if the caller should throw `error`, because nothing was being recorded or the device has
  // failed.
  virtual bool cancel_recording(std::unique_ptr<Replay>& /*state*/, const std::string& /*error*/) {
    return true;
  }
  // Says how programs are run again: "graphs", or why op by op. Empty if the backend never records. Any
  // thread may call it.
  virtual std::string recording() const { return ""; }
  // Says why this program cannot be recorded; empty if it can.
  virtual std::string refusal(const std::unique_ptr<Replay>& /*state*/) const { return ""; }

  virtual int64_t packed_bytes(const FilterShape& shape, Direction direction) const = 0;
  // Whether one packed filter serves both directions, so that weights are packed once per training step.
  virtual bool packs_once() const = 0;

  // `workspace` is called once per op before the first run of its program, and may time several ways to
  // compute the op. `run` may neither allocate nor read results on the host.
#define PIXELCNN_X(Op)                         \
  virtual int64_t workspace(const Op& op) = 0; \
  virtual void run(const Op& op) = 0;
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

// One block of device memory. It keeps its backend alive until the memory is released.
class Arena {
 public:
  Arena(std::shared_ptr<Backend> backend, int64_t bytes)
      : backend_(std::move(backend)),
        data_(static_cast<std::byte*>(backend_->allocate(bytes))),
        bytes_(bytes) {}
  ~Arena() { free(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Releases the memory early, when the device closes. No program may run afterwards.
  void free() {
    if (data_ != nullptr) backend_->release(data_);
    data_ = nullptr;
  }

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  const std::shared_ptr<Backend>& backend() const { return backend_; }

 private:
  std::shared_ptr<Backend> backend_;
  std::byte* data_;
  int64_t bytes_;
};

}  // namespace pixelcnn
