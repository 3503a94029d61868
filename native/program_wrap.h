// Programs as Node sees them.
#pragma once
#include <napi.h>

namespace pixelcnn {

// (commands Int32Array, arenas Arena[], inputs Int32Array, outputs Int32Array) -> Program
Napi::Value create_program(const Napi::CallbackInfo& info);
// (program)
Napi::Value release_program(const Napi::CallbackInfo& info);
// (program, inputs TypedArray[], repeat) -> Promise<ArrayBuffer[]>
Napi::Value run_program(const Napi::CallbackInfo& info);
// (program, inputs TypedArray[]) -> Promise<Float64Array>: milliseconds and non-finite values of each op
Napi::Value trace_program(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
