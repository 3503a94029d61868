// Switches between stacks.
#include "stack.h"

namespace emulator {

#ifdef __x86_64__

extern "C" void pixelcnn_emulator_change(void** save, void* load);
asm(R"(
.text
.globl pixelcnn_emulator_change
.hidden pixelcnn_emulator_change
.type pixelcnn_emulator_change, @function
pixelcnn_emulator_change:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
.size pixelcnn_emulator_change, . - pixelcnn_emulator_change
)");

void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  void** top = reinterpret_cast<void**>(memory + bytes);
  *--top = nullptr;  // where `entry` would return to; the ABI's alignment there
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack.top = top;
}

void change(Stack& from, Stack& to) { pixelcnn_emulator_change(&from.top, to.top); }

#else

void prepare(Stack& stack, char* memory, size_t bytes, void (*entry)()) {
  getcontext(&stack.context);
  stack.context.uc_stack.ss_sp = memory;
  stack.context.uc_stack.ss_size = bytes;
  stack.context.uc_link = nullptr;
  makecontext(&stack.context, entry, 0);
}

void change(Stack& from, Stack& to) { swapcontext(&from.context, &to.context); }

#endif

}  // namespace emulator
