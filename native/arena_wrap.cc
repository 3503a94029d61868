// Runs the arena functions as jobs. Bytes to write are copied before a call returns, because JavaScript
// may change them afterwards; bytes that are read arrive in fresh ArrayBuffers.
#include "arena_wrap.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pixelcnn {

const napi_type_tag ArenaHandle::kTag = {0x7069786c636e6e02, 0x4c7a0e8f5d2b4912};

namespace {

constexpr int64_t kMaxArenaBytes = int64_t{1} << 39;
constexpr int64_t kMaxTransferBytes = int64_t{1} << 31;

class AllocateJob final : public PromiseJob {
 public:
  explicit AllocateJob(int64_t bytes) : bytes_(bytes) {}
  void run(const std::atomic<bool>&) override {
    arena_ = std::make_shared<Arena>(device().backend(), bytes_);
    device().add_arena(arena_);
  }

 protected:
  Napi::Value result(Napi::Env env) override {
    return make_handle(env, std::make_shared<ArenaHandle>(ArenaHandle{device().shared_from_this(), arena_}));
  }

 private:
  std::shared_ptr<Arena> arena_;
  int64_t bytes_;
};

class WriteJob final : public PromiseJob {
 public:
  WriteJob(std::shared_ptr<Arena> arena, int64_t offset, std::span<const std::byte> bytes)
      : arena_(std::move(arena)), offset_(offset), bytes_(bytes.begin(), bytes.end()) {}
  void run(const std::atomic<bool>&) override {
    arena_->backend()->write(arena_->data() + offset_, bytes_.data(), static_cast<int64_t>(bytes_.size()));
  }

 protected:
  Napi::Value result(Napi::Env env) override { return env.Undefined(); }

 private:
  std::shared_ptr<Arena> arena_;
  int64_t offset_;
  std::vector<std::byte> bytes_;
};

class ReadJob final : public PromiseJob {
 public:
  ReadJob(Napi::Env env, std::shared_ptr<Arena> arena, int64_t offset, int64_t bytes)
      : arena_(std::move(arena)), offset_(offset) {
    Napi::ArrayBuffer buffer = new_array_buffer(env, bytes);
    data_ = static_cast<std::byte*>(buffer.Data());
    bytes_ = bytes;
    reference_ = Napi::Persistent(Napi::Object(env, buffer));
  }
  void run(const std::atomic<bool>&) override {
    arena_->backend()->read(data_, arena_->data() + offset_, bytes_);
    fence_ = arena_->backend()->fence();
  }
  bool in_flight() const override { return fence_ != 0; }
  bool reached() override { return arena_->backend()->reached(fence_); }
  void finish() override { arena_->backend()->wait(fence_); }

 protected:
  Napi::Value result(Napi::Env) override { return reference_.Value(); }

 private:
  std::shared_ptr<Arena> arena_;
  int64_t offset_;
  int64_t bytes_;
  uint64_t fence_ = 0;
  std::byte* data_;
  Napi::ObjectReference reference_;
};

const std::shared_ptr<Arena>& live_arena(const ArenaHandle& handle) {
  PIXELCNN_CHECK(handle.arena != nullptr, "ERR_DISPOSED", "the arena has been released");
  return handle.arena;
}

void check_region(const Arena& arena, int64_t offset, int64_t bytes) {
  PIXELCNN_CHECK(offset + bytes <= arena.bytes(), "ERR_OUT_OF_RANGE",
                 std::to_string(bytes) + " bytes at offset " + std::to_string(offset) +
                     " exceed the arena of " + std::to_string(arena.bytes()) + " bytes");
}

}  // namespace

Napi::Value allocate_arena(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto device = handle_of<Device>(info[0], "device");
    const int64_t bytes = integer_argument(info, 1, "bytes", 0, kMaxArenaBytes);
    return device->submit(info.Env(), std::make_unique<AllocateJob>(bytes));
  });
}

Napi::Value release_arena(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    handle_of<ArenaHandle>(info[0], "arena")->arena.reset();
    return info.Env().Undefined();
  });
}

Napi::Value write_arena(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto handle = handle_of<ArenaHandle>(info[0], "arena");
    const int64_t offset = integer_argument(info, 1, "byteOffset", 0, kMaxArenaBytes);
    const std::span<const std::byte> bytes = bytes_of(info[2], "bytes");
    check_region(*live_arena(*handle), offset, static_cast<int64_t>(bytes.size()));
    return handle->device->submit(info.Env(), std::make_unique<WriteJob>(handle->arena, offset, bytes));
  });
}

Napi::Value read_arena(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto handle = handle_of<ArenaHandle>(info[0], "arena");
    const int64_t offset = integer_argument(info, 1, "byteOffset", 0, kMaxArenaBytes);
    const int64_t bytes = integer_argument(info, 2, "byteLength", 0, kMaxArenaBytes);
    check_region(*live_arena(*handle), offset, bytes);
    PIXELCNN_CHECK(bytes <= kMaxTransferBytes, "ERR_LIMIT",
                   "one transfer may have at most 2 GiB, got " + std::to_string(bytes) + " bytes");
    return handle->device->submit(info.Env(),
                                  std::make_unique<ReadJob>(info.Env(), handle->arena, offset, bytes));
  });
}

}  // namespace pixelcnn
