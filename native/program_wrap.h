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
// (program, inputs TypedArray[]) -> Promise<{ values Float64Array, opByOp string }>: milliseconds and
// non-finite values of each op; why the program is not run as a whole
Napi::Value trace_program(const Napi::CallbackInfo& info);
// (program) -> { made, of }: convolutions that the device has chosen a way to compute for, of how many
Napi::Value program_choices(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
