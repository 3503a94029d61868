// Arenas as Node sees them: allocated, written, read and released.
#pragma once
#include <napi.h>

#include <memory>

#include "device_wrap.h"

namespace pixelcnn {

// An arena together with its device.
struct ArenaHandle {
  static const napi_type_tag kTag;
  static constexpr const char* kName = "Arena";
  std::shared_ptr<Device> device;
  std::shared_ptr<Arena> arena;  // null once released; programs that use it keep the memory
};

// The functions that addon.cc exports.
// (device, bytes) -> Promise<Arena>
Napi::Value allocate_arena(const Napi::CallbackInfo& info);
// (arena)
Napi::Value release_arena(const Napi::CallbackInfo& info);
// (arena, byteOffset, bytes) -> Promise<void>
Napi::Value write_arena(const Napi::CallbackInfo& info);
// (arena, byteOffset, byteLength) -> Promise<ArrayBuffer>
Napi::Value read_arena(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
