// Registers the addon with Node: its functions, which take tagged handles, the names of the ops and the
// version of the command buffer's format.
#include <napi.h>

#include "arena_wrap.h"
#include "device_wrap.h"
#include "program.h"
#include "program_wrap.h"

namespace pixelcnn {

// Raise it whenever the meaning of a function or of a command buffer changes.
constexpr int kAbi = 6;

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) {
    Napi::Array names = Napi::Array::New(env);
    for (const std::string& name : op_names()) names.Set(names.Length(), name);
    DefineAddon(exports, {
                             InstanceValue("abi", Napi::Number::New(env, kAbi), napi_enumerable),
                             InstanceValue("opNames", names, napi_enumerable),
                         });
    const auto function = [&](const char* name, Napi::Value (*callback)(const Napi::CallbackInfo&)) {
      exports.Set(name, Napi::Function::New(env, callback, name));
    };
    function("openDevice", open_device);
    function("deviceInfo", device_info);
    function("cudnnReport", cudnn_report);
    function("closeDevice", close_device);
    function("packedBytes", packed_bytes);
    function("allocateArena", allocate_arena);
    function("releaseArena", release_arena);
    function("writeArena", write_arena);
    function("readArena", read_arena);
    function("createProgram", create_program);
    function("releaseProgram", release_program);
    function("runProgram", run_program);
    function("traceProgram", trace_program);
    function("programChoices", program_choices);
  }
};

NODE_API_ADDON(Addon)

}  // namespace pixelcnn
