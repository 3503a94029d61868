// Emulates warp instructions: all lanes of a mask meet, and then one of them does the work for all.
#include <bit>
#include <cstring>

#include "grid.h"

namespace emulator {

int lane() { return static_cast<int>(grid.current->lane); }

void warp_instruction(const char* name, WarpWork work, uint32_t mask, Lane io, Site site) {
  InEmulator mark;
  Fiber& fiber = *grid.current;
  Warp& warp = *fiber.warp;
  const uint32_t bit = 1u << fiber.lane;
  fiber.name = name;
  fiber.site = site;
  fiber.mask = mask;
  fiber.work = work;
  fiber.io = io;
  const auto where = [&] { return std::string(name) + " at " + text(site) + ": "; };
  if ((mask & bit) == 0) fail(where() + text(fiber) + " is not in its own mask");
  if ((mask & warp.ended) != 0) {
    fail(where() + "the mask names lane " + std::to_string(std::countr_zero(mask & warp.ended)) +
         ", which has ended or does not exist; called by " + text(fiber));
  }
  const uint32_t others = warp.in_instruction & mask;
  // Whoever comes compares with one that waits, so in the end all are the same.
  if (others != 0) {
    const Fiber& other = warp.fibers[std::countr_zero(others)];
    if (other.mask != mask || other.work != work || !same(other.site, site)) {
      fail("divergent warp: " + text(fiber) + " is in " + name + " at " + text(site) + " while " +
           text(other) + " is in " + other.name + " at " + text(other.site));
    }
  }
  if ((others | bit) != mask) {
    warp.in_instruction |= bit;
    wait();
    return;
  }
  warp.in_instruction &= ~mask;
  if (work == nullptr) {
    warp.epoch = ++grid.clock;
  } else {
    Lane lanes[32];
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const int i = std::countr_zero(rest);
      lanes[i] = warp.fibers[i].io;
    }
    work(lanes, mask);
  }
  make_ready(warp, mask & ~bit);
  yield();
}

void warp_barrier(uint32_t mask, Site site) { warp_instruction("__syncwarp", nullptr, mask, {}, site); }

void exchange(Lane* lanes, uint32_t mask) {
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const Lane& to = lanes[std::countr_zero(rest)];
    if ((mask >> to.argument & 1) == 0) {
      fail("a shuffle reads lane " + std::to_string(to.argument) + ", which is not in its mask");
    }
    std::memcpy(to.out, lanes[to.argument].in, sizeof(uint64_t));
  }
}

void gather(Lane* lanes, uint32_t mask) {
  uint64_t all[32] = {};
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int i = std::countr_zero(rest);
    std::memcpy(&all[i], lanes[i].in, sizeof all[i]);
  }
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    std::memcpy(lanes[std::countr_zero(rest)].out, all, sizeof all);
  }
}

}  // namespace emulator
