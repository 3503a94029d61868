// Lets Node allocate, write, read and release arenas.
#pragma once
#include <napi.h>

#include <memory>

#include "device_wrap.h"

namespace pixelcnn {

// An arena and the device that it belongs to.
struct ArenaHandle {
  static const napi_type_tag kTag;
  static constexpr const char* kName = "Arena";
  std::shared_ptr<Device> device;
  std::shared_ptr<Arena> arena;  // null once released; programs that use the arena keep its memory
};

// These functions are exported by addon.cc.
// (device, bytes) -> Promise<Arena>
Napi::Value allocate_arena(const Napi::CallbackInfo& info);
// (arena)
Napi::Value release_arena(const Napi::CallbackInfo& info);
// (arena, byteOffset, bytes) -> Promise<void>
Napi::Value write_arena(const Napi::CallbackInfo& info);
// (arena, byteOffset, byteLength) -> Promise<ArrayBuffer>
Napi::Value read_arena(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
