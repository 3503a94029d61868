// What a backend provides: memory, copies, and one function per op of the op table.
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
  std::string name;             // of the processor
  std::string instruction_set;  // of the kernels in use: "avx512", "sm_90"
  int threads = 1;
  std::string cudnn;  // version in use, or why there is none; empty on the CPU
};

// What a backend keeps to run a program again without walking its ops. Released by whatever thread drops it.
class Replay {
 public:
  virtual ~Replay() = default;
};

// All functions but `info`, `supports`, `packed_bytes`, `packs_alike`, `recording` and `release` are called
// on the device's executor thread only. A backend may compute at once, as the CPU does, or enqueue; then what
// a call reads or writes is ordered by the calls, and errors may come with a later one.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const = 0;
  virtual bool supports(Precision precision) const = 0;

  virtual void* allocate(int64_t bytes) = 0;  // zeroed; throws ERR_OUT_OF_MEMORY
  virtual void release(void* memory) = 0;     // any thread; what is enqueued may still use the memory
  virtual void write(void* device, const void* host, int64_t bytes) = 0;  // `host` is free on return
  virtual void read(void* host, const void* device, int64_t bytes) = 0;   // arrives with the next fence
  virtual void reserve_workspace(int64_t bytes) = 0;
  virtual void close() = 0;  // gives back threads and workspace; nothing runs after it

  // A mark after everything enqueued so far, 0 if all of it has run; `wait` returns once it is reached and
  // the reads before it have arrived.
  virtual uint64_t fence() { return 0; }
  virtual bool reached(uint64_t /*fence*/) { return true; }
  virtual void wait(uint64_t /*fence*/) {}

  // A program runs the same ops every time. `replay` runs them as a whole and returns true if `state` holds a
  // recording; else the ops are run one by one between `begin_recording` and `end_recording`, or
  // `cancel_recording` if one of them threw. The last two return false if the ops cannot be recorded: none of
  // them has taken effect then, and the caller runs them once more, without recording.
  virtual bool replay(std::unique_ptr<Replay>& /*state*/) { return false; }
  virtual void begin_recording(std::unique_ptr<Replay>& /*state*/) {}
  virtual bool end_recording(std::unique_ptr<Replay>& /*state*/) { return true; }
  // True: the error is the caller's to throw, since nothing was being recorded or the device has failed.
  virtual bool cancel_recording(std::unique_ptr<Replay>& /*state*/, const std::string& /*error*/) {
    return true;
  }
  // How programs run again: "graphs" or why op by op; empty where a backend records nothing. Any thread.
  virtual std::string recording() const { return ""; }
  // Why it turned out that this program cannot be recorded; empty where it can.
  virtual std::string refusal(const std::unique_ptr<Replay>& /*state*/) const { return ""; }

  virtual int64_t packed_bytes(const MaskedConv2dShape& shape, Direction direction) const = 0;
  // Whether a packed filter is the same for both directions, so that one serves them both.
  virtual bool packs_alike() const = 0;

  // workspace: called once per op before its program's first run; it may measure what is fastest. run: no
  // allocation, no host read.
#define PIXELCNN_X(Op)                         \
  virtual int64_t workspace(const Op& op) = 0; \
  virtual void run(const Op& op) = 0;
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

// One block of device memory. Holds its backend, so memory is returned before the backend goes.
class Arena {
 public:
  Arena(std::shared_ptr<Backend> backend, int64_t bytes)
      : backend_(std::move(backend)),
        data_(static_cast<std::byte*>(backend_->allocate(bytes))),
        bytes_(bytes) {}
  ~Arena() { free(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Returns the memory early, when the device closes. No run may follow.
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
