// Defines stacks that can be left and continued: six registers in assembly on x86-64, ucontext elsewhere.
#pragma once
#include <cstddef>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {

struct Stack {
#ifdef __x86_64__
  void* top = nullptr;  // with the registers saved there
#else
  ucontext_t context;
#endif
};

// Makes a stack that calls `entry` when it is first continued; `entry` must never return.
void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)());
// Leaves the running stack and continues another.
void change(Stack& from, Stack& to);

}  // namespace emulator
