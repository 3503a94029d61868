// Converts between JavaScript and C++ values: typed handles, checked arguments, and errors with a `code`.
#pragma once
#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "error.h"

namespace pixelcnn {

// Returns a JavaScript Error with the code and the message of `error`.
Napi::Error to_js_error(Napi::Env env, const Error& error);

// Calls body() and turns a C++ exception into a JavaScript one.
template <class Body>
Napi::Value guarded(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (const Error& error) {
    throw to_js_error(env, error);
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw to_js_error(env, Error("ERR_OUT_OF_MEMORY", "out of memory"));
  } catch (const std::exception& error) {
    throw to_js_error(env, Error("ERR_INTERNAL", error.what()));
  }
}

// These read an argument by its position. Each throws ERR_INVALID_ARG_TYPE or ERR_OUT_OF_RANGE naming the
// argument.
int64_t integer_argument(const Napi::CallbackInfo& info, size_t index, const char* name, int64_t low,
                         int64_t high);
std::string string_argument(const Napi::CallbackInfo& info, size_t index, const char* name);
std::span<const int32_t> int32_array_argument(const Napi::CallbackInfo& info, size_t index, const char* name);
Napi::Array array_argument(const Napi::CallbackInfo& info, size_t index, const char* name);

// Returns the bytes of any typed array or DataView. Refuses shared and detached buffers.
std::span<const std::byte> bytes_of(const Napi::Value& value, const std::string& name);

// Returns a zeroed ArrayBuffer. Throws ERR_OUT_OF_MEMORY.
Napi::ArrayBuffer new_array_buffer(Napi::Env env, int64_t bytes);

// Wraps a std::shared_ptr<T> in a JavaScript object. The object is tagged, so that no other object is
// mistaken for it. T has `static const napi_type_tag kTag` and `static const char* const kName`.
template <class T>
Napi::Object make_handle(Napi::Env env, std::shared_ptr<T> value) {
  Napi::Object object = Napi::Object::New(env);
  auto holder = std::make_unique<std::shared_ptr<T>>(std::move(value));
  napi_status status = napi_type_tag_object(env, object, &T::kTag);
  if (status == napi_ok) {
    status = napi_wrap(
        env, object, holder.get(),
        [](napi_env, void* data, void*) {
          std::unique_ptr<std::shared_ptr<T>>(static_cast<std::shared_ptr<T>*>(data));
        },
        nullptr, nullptr);
  }
  PIXELCNN_CHECK(status == napi_ok, "ERR_INTERNAL", std::string("could not create a ") + T::kName);
  holder.release();
  return object;
}

template <class T>
std::shared_ptr<T> handle_of(const Napi::Value& value, const char* name) {
  bool tagged = false;
  void* data = nullptr;
  PIXELCNN_CHECK(value.IsObject() &&
                     napi_check_object_type_tag(value.Env(), value, &T::kTag, &tagged) == napi_ok && tagged &&
                     napi_unwrap(value.Env(), value, &data) == napi_ok && data != nullptr,
                 "ERR_INVALID_ARG_TYPE", std::string(name) + " must be a " + T::kName);
  return *static_cast<std::shared_ptr<T>*>(data);
}

}  // namespace pixelcnn
