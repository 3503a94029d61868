// Checks every load and store of kernel code, and writes the sentence about a wrong one.
#include <algorithm>
#include <bit>

#include "grid.h"

namespace emulator {

namespace {

uint32_t number(const Fiber& fiber) {
  return fiber.warp->block->number * grid.threads + fiber.warp->first_thread + fiber.lane + 1;
}

std::string describe(const Touch& touch) {
  const uint32_t thread = touch.thread - 1;
  return "thread " + std::to_string(thread % grid.threads) + " of block " +
         std::to_string(thread / grid.threads) + " at " + place(touch.code);
}

// Whether `touch` happened before what the fiber does now.
bool ordered(const Touch& touch, const Touch& now, const Fiber& fiber, uint32_t beginning) {
  if (touch.thread == 0 || touch.thread == now.thread || touch.block_epoch < beginning) return true;
  const uint32_t thread = touch.thread - 1;
  if (thread / grid.threads != fiber.warp->block->number) return false;
  if (touch.block_epoch != now.block_epoch) return true;
  const bool same_warp = thread % grid.threads / 32 == fiber.warp->first_thread / 32;
  return same_warp && touch.warp_epoch != now.warp_epoch;
}

struct Complaint {
  const Fiber& fiber;
  size_t bytes;
  Access access;
  const void* code;
  [[noreturn]] void operator()(const std::string& what) const {
    const char* const verb = access == Access::kRead ? "read" : access == Access::kWrite ? "write" : "atomic";
    fail(what + ": " + std::to_string(bytes) + "-byte " + verb + " by " + text(fiber) + " at " +
         place(code_offset(code)));
  }
};

// A piece of an access: a power of two of at most 16 bytes, aligned to it.
void check_piece(Region& region, size_t offset, size_t bytes, const Touch& now, const Complaint& complain) {
  Shadow& shadow = region.shadow(offset);
  const size_t at = offset % Shadow::kBytes;
  uint64_t& written = shadow.written[at / 64];
  const uint64_t bits = ((uint64_t{1} << bytes) - 1) << at % 64;
  const auto where = [&] { return "byte " + std::to_string(offset) + " of " + region.name; };
  if (complain.access == Access::kWrite)
    written |= bits;
  else if ((written & bits) != bits)
    complain("uninitialised " + where());
  const uint32_t beginning = region.shared() ? region.owner->first_epoch : grid.epoch;
  const auto is_ordered = [&](const Touch& touch) { return ordered(touch, now, complain.fiber, beginning); };
  const auto race = [&](const Touch& other, const char* verb) {
    complain("race on " + where() + ", no barrier since the " + verb + " by " + describe(other));
  };
  Granule* granule = shadow.at(offset, bytes);
  for (size_t covered = 0; covered < bytes; covered += shadow.granule_bytes, ++granule) {
    if (!is_ordered(granule->write) && !(now.atomic && granule->write.atomic)) race(granule->write, "write");
    if (complain.access == Access::kRead) {
      if (is_ordered(granule->read[0]))
        granule->read[0] = now;
      else if (granule->read[0].thread != now.thread)
        granule->read[1] = now;
    } else {
      for (const Touch& read : granule->read) {
        if (!is_ordered(read)) race(read, "read");
      }
      granule->write = now;
    }
  }
}

}  // namespace

void check_access(const Fiber& fiber, const void* memory, size_t bytes, Access access, const void* code) {
  const char* const p = static_cast<const char*>(memory);
  if (p >= fiber.memory && p < fiber.memory + kStackBytes) return;
  const Complaint complain{fiber, bytes, access, code};
  if (!in_arena(memory)) {
    if (access == Access::kRead && in_this_library(memory)) return;  // constants, threadIdx
    complain("host memory, or another thread's stack, in a kernel");
  }
  Region* const region = find_region(memory);
  if (region == nullptr) complain("memory that is not allocated");
  if (!region->live) complain("memory of " + region->name + ", which was released,");
  if (p < region->base || p + bytes > region->base + region->bytes) {
    complain("out of bounds, byte " + std::to_string(p - region->base) + " of " + region->name + " (" +
             std::to_string(region->bytes) + " bytes)");
  }
  if (region->shared() && region->owner != fiber.warp->block) complain("another block's shared memory");
  if (!checked()) return;
  Touch now;
  now.thread = number(fiber);
  now.block_epoch = fiber.warp->block->epoch;
  now.warp_epoch = fiber.warp->epoch;
  now.code = code_offset(code);
  now.atomic = access == Access::kAtomic;
  for (size_t offset = static_cast<size_t>(p - region->base), end = offset + bytes; offset < end;) {
    const size_t aligned = offset == 0 ? 16 : offset & -offset;
    const size_t piece = std::min({size_t{16}, aligned, std::bit_floor(end - offset)});
    check_piece(*region, offset, piece, now, complain);
    offset += piece;
  }
}

void check_alignment(const Fiber& fiber, const void* memory, size_t bytes, Access access, const void* code) {
  if (reinterpret_cast<uintptr_t>(memory) % bytes != 0)
    Complaint{fiber, bytes, access, code}("misaligned access");
}

std::string text(const uint3& index) {
  return std::string("(") + std::to_string(index.x) + "," + std::to_string(index.y) + "," +
         std::to_string(index.z) + ")";
}

std::string text(const Fiber& fiber) {
  return "thread " + text(fiber.index) + " of block " + text(fiber.warp->block->index);
}

}  // namespace emulator
