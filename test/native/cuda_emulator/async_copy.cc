// Emulates the instruction cp.async. A copy takes effect when it is waited for, so that a missing wait leaves
// poison behind. In random schedules of the unchecked build half of the copies take effect at once, over data
// that other threads may still read.
#include <cstring>

#include "grid.h"

namespace emulator {

namespace {

void land(const Copy& copy, const void* code) {
  check_access(*grid.current, copy.to, copy.bytes, Access::kWrite, code);
  std::memset(copy.to, 0, copy.bytes);
  std::memcpy(copy.to, copy.from, copy.valid);
}

}  // namespace

void copy_async(void* to, const void* from, size_t bytes, size_t valid) {
  InEmulator mark;
  Fiber& fiber = *grid.current;
  const void* const code = __builtin_return_address(0);
  const Region* const region = find_region(to);
  if (region == nullptr || !region->shared()) {
    fail("cp.async by " + text(fiber) + ": the destination is not shared memory");
  }
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    fail("cp.async by " + text(fiber) + ": misaligned source");
  }
  check_access(fiber, to, bytes, Access::kWrite, code);
  if (valid != 0) check_access(fiber, from, valid, Access::kRead, code);
  std::memset(to, 0xff, bytes);
  set_written(to, bytes, false);
  const Copy copy{static_cast<char*>(to), static_cast<const char*>(from), bytes, valid, fiber.copy_group};
  if (options.seed != 0 && !checked() && random_below(2) == 0)
    land(copy, code);
  else
    fiber.copies.push_back(copy);
}

void copy_commit() { ++grid.current->copy_group; }

void copy_wait(int pending) {
  InEmulator mark;
  Fiber& fiber = *grid.current;
  size_t landed = 0;
  while (landed < fiber.copies.size() && fiber.copies[landed].group < fiber.copy_group - pending) {
    land(fiber.copies[landed++], __builtin_return_address(0));
  }
  fiber.copies.erase(fiber.copies.begin(), fiber.copies.begin() + static_cast<ptrdiff_t>(landed));
}

}  // namespace emulator
