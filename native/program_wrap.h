// Lets Node create, run, trace and release programs.
#pragma once
#include <napi.h>

namespace pixelcnn {

// (commands Int32Array, arenas Arena[], inputs Int32Array, outputs Int32Array) -> Program
Napi::Value create_program(const Napi::CallbackInfo& info);
// (program)
Napi::Value release_program(const Napi::CallbackInfo& info);
// (program, inputs TypedArray[], repeat) -> Promise<ArrayBuffer[]>
Napi::Value run_program(const Napi::CallbackInfo& info);
// (program, inputs TypedArray[]) -> Promise<{ values Float64Array, opByOp string }>: the milliseconds and
// the number of non-finite values of each op, and why the program cannot be recorded
Napi::Value trace_program(const Napi::CallbackInfo& info);
// (program) -> { made, of }: the Choices of program.h
Napi::Value program_choices(const Napi::CallbackInfo& info);
// (program) -> the bytes of scratch memory that its largest op needs, 0 before its first run
Napi::Value program_workspace(const Napi::CallbackInfo& info);

}  // namespace pixelcnn
