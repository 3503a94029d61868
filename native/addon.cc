// Registers the addon with Node: its functions, which take tagged handles, the op table and the version of
// the command buffer's format.
#include <napi.h>

#include <vector>

#include "arena_wrap.h"
#include "device_wrap.h"
#include "op_listing.h"
#include "program_wrap.h"

namespace pixelcnn {

// Raise it whenever the meaning of a function or of a command buffer changes.
constexpr int kAbi = 10;

namespace {

// Returns an array of { name, kind: 'number' }, { name, kind: 'tensor', optional } and { name, kind: 'list',
// fields }.
Napi::Array to_js(Napi::Env env, const std::vector<OpField>& fields) {
  Napi::Array result = Napi::Array::New(env);
  for (const OpField& field : fields) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", field.name);
    switch (field.kind) {
      case OpField::Kind::kNumber:
        object.Set("kind", "number");
        break;
      case OpField::Kind::kTensor:
        object.Set("kind", "tensor");
        object.Set("optional", field.optional);
        break;
      case OpField::Kind::kList:
        object.Set("kind", "list");
        object.Set("fields", to_js(env, field.fields));
    }
    result.Set(result.Length(), object);
  }
  return result;
}

}  // namespace

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) {
    Napi::Array table = Napi::Array::New(env);
    for (const OpListing& op : list_ops()) {
      Napi::Object object = Napi::Object::New(env);
      object.Set("name", op.name);
      object.Set("fields", to_js(env, op.fields));
      table.Set(table.Length(), object);
    }
    Napi::Array filter_fields = Napi::Array::New(env);
    for (const OpField& field : list_filter_fields()) filter_fields.Set(filter_fields.Length(), field.name);
    DefineAddon(exports, {
                             InstanceValue("abi", Napi::Number::New(env, kAbi), napi_enumerable),
                             InstanceValue("opTable", table, napi_enumerable),
                             InstanceValue("filterFields", filter_fields, napi_enumerable),
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
    function("programWorkspace", program_workspace);
  }
};

NODE_API_ADDON(Addon)

}  // namespace pixelcnn
