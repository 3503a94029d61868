// Checks arguments from JavaScript, so that calling the addon directly is as safe as calling it through
// TypeScript.
#include "napi_values.h"

#include <cmath>
#include <cstdlib>

namespace pixelcnn {

Napi::Error to_js_error(Napi::Env env, const Error& error) {
  Napi::Error result = Napi::Error::New(env, error.what());
  result.Set("code", Napi::String::New(env, error.code()));
  if (!error.remedy().empty()) result.Set("remedy", Napi::String::New(env, error.remedy()));
  return result;
}

int64_t integer_argument(const Napi::CallbackInfo& info, size_t index, const char* name, int64_t low,
                         int64_t high) {
  const Napi::Value value = info[index];
  PIXELCNN_CHECK(value.IsNumber(), "ERR_INVALID_ARG_TYPE", std::string(name) + " must be a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  PIXELCNN_CHECK(std::isfinite(number) && std::floor(number) == number &&
                     number >= static_cast<double>(low) && number <= static_cast<double>(high),
                 "ERR_OUT_OF_RANGE",
                 std::string(name) + " must be an integer in [" + std::to_string(low) + ", " +
                     std::to_string(high) + "], got " + std::to_string(number));
  return static_cast<int64_t>(number);
}

std::string string_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  PIXELCNN_CHECK(info[index].IsString(), "ERR_INVALID_ARG_TYPE", std::string(name) + " must be a string");
  std::string text = info[index].As<Napi::String>().Utf8Value();
  PIXELCNN_CHECK(text.find('\0') == std::string::npos, "ERR_INVALID_ARG_VALUE",
                 std::string(name) + " must not contain a NUL character");
  return text;
}

std::span<const std::byte> bytes_of(const Napi::Value& value, const std::string& name) {
  PIXELCNN_CHECK(value.IsTypedArray() || value.IsDataView(), "ERR_INVALID_ARG_TYPE",
                 name + " must be a typed array");
  // Reads the buffer with the C functions, because node-addon-api ignores the status of shared and
  // detached buffers.
  napi_value buffer = nullptr;
  size_t bytes = 0;
  size_t offset = 0;
  void* data = nullptr;
  napi_status status;
  if (value.IsTypedArray()) {
    napi_typedarray_type type;
    size_t length = 0;
    status = napi_get_typedarray_info(value.Env(), value, &type, &length, &data, &buffer, &offset);
    bytes = status == napi_ok ? value.As<Napi::TypedArray>().ByteLength() : 0;
  } else {
    status = napi_get_dataview_info(value.Env(), value, &bytes, &data, &buffer, &offset);
  }
  bool plain = false;
  bool detached = true;
  PIXELCNN_CHECK(status == napi_ok && napi_is_arraybuffer(value.Env(), buffer, &plain) == napi_ok && plain,
                 "ERR_INVALID_ARG_TYPE", name + " must not be backed by a SharedArrayBuffer");
  PIXELCNN_CHECK(napi_is_detached_arraybuffer(value.Env(), buffer, &detached) == napi_ok && !detached,
                 "ERR_DETACHED", name + " is backed by a detached ArrayBuffer");
  return {static_cast<const std::byte*>(data), data == nullptr ? 0 : bytes};
}

std::span<const int32_t> int32_array_argument(const Napi::CallbackInfo& info, size_t index,
                                              const char* name) {
  PIXELCNN_CHECK(
      info[index].IsTypedArray() && info[index].As<Napi::TypedArray>().TypedArrayType() == napi_int32_array,
      "ERR_INVALID_ARG_TYPE", std::string(name) + " must be an Int32Array");
  const std::span<const std::byte> bytes = bytes_of(info[index], name);
  return {reinterpret_cast<const int32_t*>(bytes.data()), bytes.size() / sizeof(int32_t)};
}

Napi::Array array_argument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  PIXELCNN_CHECK(info[index].IsArray(), "ERR_INVALID_ARG_TYPE", std::string(name) + " must be an array");
  return info[index].As<Napi::Array>();
}

Napi::ArrayBuffer new_array_buffer(Napi::Env env, int64_t bytes) {
  // V8 ends the process if it cannot allocate a buffer, so a large allocation is tried with calloc first.
  constexpr int64_t kLarge = 1 << 20;
  if (bytes >= kLarge) {
    const std::unique_ptr<void, decltype(&std::free)> probe(std::calloc(1, static_cast<size_t>(bytes)),
                                                            std::free);
    PIXELCNN_CHECK(probe != nullptr, "ERR_OUT_OF_MEMORY",
                   "could not allocate a buffer of " + std::to_string(bytes) + " bytes");
  }
  return Napi::ArrayBuffer::New(env, static_cast<size_t>(bytes));
}

}  // namespace pixelcnn
