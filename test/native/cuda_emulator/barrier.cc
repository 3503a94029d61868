// Emulates __syncthreads and the barrier of a whole grid.
#include <utility>

#include "grid.h"

namespace emulator {

namespace {

void wait_in(const char* name, Site site) {
  grid.current->name = name;
  grid.current->site = site;
  wait();
}

}  // namespace

void open_barrier(Block& block) {
  block.arrived = 0;
  block.epoch = ++grid.clock;
  block.result = std::exchange(block.votes, 0);
  for (unsigned w = 0; w < grid.warps_per_block; ++w) {
    make_ready(block.warps[w], std::exchange(block.warps[w].at_barrier, 0));
  }
}

int block_barrier(int value, Site site) {
  InEmulator mark;
  Fiber& fiber = *grid.current;
  Block& block = *fiber.warp->block;
  if (block.arrived != 0 && !same(block.site, site)) {
    fail("divergent barrier: " + text(fiber) + " is at " + text(site) + " while others wait at " +
         text(block.site));
  }
  block.site = site;
  block.votes += value != 0;
  ++block.arrived;
  if (block.arrived == block.live) {
    open_barrier(block);
    yield();
  } else {
    fiber.warp->at_barrier |= 1u << fiber.lane;
    wait_in("__syncthreads", site);
  }
  return block.result;
}

void grid_barrier(Site site) {
  InEmulator mark;
  if (!grid.shape.cooperative) fail("grid_sync at " + text(site) + " without a cooperative launch");
  Fiber& fiber = *grid.current;
  unsigned live = 0;
  for (const Block& block : grid.blocks) live += block.live;
  if (++grid.arrived < live) {
    fiber.warp->at_grid |= 1u << fiber.lane;
    wait_in("grid_sync", site);
    return;
  }
  grid.arrived = 0;
  grid.epoch = ++grid.clock;
  for (Block& block : grid.blocks) block.epoch = ++grid.clock;
  for (Warp& warp : grid.warps) make_ready(warp, std::exchange(warp.at_grid, 0));
  yield();
}

}  // namespace emulator
