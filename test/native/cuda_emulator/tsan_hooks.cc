// Receives the calls that -fsanitize=thread inserts at every load and store. The names are the
// sanitizer's, but its own library is not linked.
#include <utility>

#include "grid.h"
#include "runtime.h"

namespace emulator {

namespace {

constinit bool any_checked = false;  // set before constructors run

inline void touch(void* memory, size_t bytes, Access access, bool aligned, const void* code) {
  Fiber* const fiber = running;
  if (fiber == nullptr) {  // host code of the same file
    if (in_arena(memory)) host_access(memory, code);
    return;
  }
  InEmulator mark;
  check_access(*fiber, memory, bytes, access, code);
  if (aligned) check_alignment(*fiber, memory, bytes, access, code);
}

}  // namespace

bool checked() { return any_checked; }

void check_atomic(void* memory, size_t bytes) {
  InEmulator mark;
  check_access(*grid.current, memory, bytes, Access::kAtomic, __builtin_return_address(0));
}

}  // namespace emulator

using emulator::Access;
using emulator::touch;

#define CODE __builtin_return_address(0)
#define HOOKS(n)                                                                        \
  void __tsan_read##n(void* p) { touch(p, n, Access::kRead, true, CODE); }              \
  void __tsan_write##n(void* p) { touch(p, n, Access::kWrite, true, CODE); }            \
  void __tsan_unaligned_read##n(void* p) { touch(p, n, Access::kRead, false, CODE); }   \
  void __tsan_unaligned_write##n(void* p) { touch(p, n, Access::kWrite, false, CODE); } \
  void __tsan_volatile_read##n(void* p) { touch(p, n, Access::kRead, true, CODE); }     \
  void __tsan_volatile_write##n(void* p) { touch(p, n, Access::kWrite, true, CODE); }

// std::atomic and the like in host code, which is not checked.
#define ATOMICS(bits, T)                                                                                   \
  T __tsan_atomic##bits##_load(const T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }           \
  void __tsan_atomic##bits##_store(T* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }           \
  T __tsan_atomic##bits##_exchange(T* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_add(T* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_fetch_sub(T* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); } \
  int __tsan_atomic##bits##_compare_exchange_strong(T* p, T* old, T v, int, int) {                         \
    return __atomic_compare_exchange_n(p, old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
  }                                                                                                        \
  int __tsan_atomic##bits##_compare_exchange_weak(T* p, T* old, T v, int, int) {                           \
    return __atomic_compare_exchange_n(p, old, v, true, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);               \
  }

extern "C" {
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
ATOMICS(8, uint8_t)
ATOMICS(16, uint16_t)
ATOMICS(32, uint32_t)
ATOMICS(64, uint64_t)
void __tsan_read_range(void* p, size_t n) { touch(p, n, Access::kRead, false, CODE); }
void __tsan_write_range(void* p, size_t n) { touch(p, n, Access::kWrite, false, CODE); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() { emulator::any_checked = true; }
}
