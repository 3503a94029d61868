// Commits faults on purpose, in an addon that is built only with sanitizers. scripts/long/sanitize.mjs
// calls each of them, and each must be reported, because otherwise silence of the sanitizers would prove
// nothing.
#include <napi.h>

#include <climits>
#include <memory>

namespace {

Napi::Value heap_overflow(const Napi::CallbackInfo& info) {
  const auto values = std::make_unique<volatile int[]>(4);
  return Napi::Number::New(info.Env(), values[info[0].As<Napi::Number>().Int32Value()]);
}

Napi::Value use_after_free(const Napi::CallbackInfo& info) {
  auto value = std::make_unique<volatile int>(1);
  volatile int* const kept = value.get();
  value.reset();
  return Napi::Number::New(info.Env(), *kept);
}

Napi::Value signed_overflow(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), INT_MAX - 3 + info[0].As<Napi::Number>().Int32Value());
}

Napi::Value leak(const Napi::CallbackInfo& info) {
  static_cast<void>(std::make_unique<char[]>(1000).release());
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("heapOverflow", Napi::Function::New(env, heap_overflow));
  exports.Set("useAfterFree", Napi::Function::New(env, use_after_free));
  exports.Set("signedOverflow", Napi::Function::New(env, signed_overflow));
  exports.Set("leak", Napi::Function::New(env, leak));
  return exports;
}

NODE_API_MODULE(planted, init)

}  // namespace
