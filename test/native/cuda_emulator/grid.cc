// Runs a grid: fibers take turns, each until it waits or ends.
#include "grid.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "device_builtins.h"

namespace emulator {

Grid& grid = *std::make_unique<Grid>().release();
constinit thread_local Fiber* running = nullptr;

namespace {

// Stacks never go, so that their pages stay. Their stride spreads their tops over the sets of the caches.
constexpr size_t kStackStride = kStackBytes + 320;
uint64_t random_state;
size_t turn;         // the warp whose turn it is
size_t ready_count;  // fibers

Fiber* fibers_of_warp(size_t warp) {
  constexpr size_t kWarps = kStacksTogether / 32;
  while (grid.fibers.size() <= warp / kWarps) {
    auto& fibers = grid.fibers.emplace_back(std::make_unique<Fiber[]>(kStacksTogether));
    char* const memory =
        static_cast<char*>(mmap(nullptr, kStacksTogether * kStackStride, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (size_t i = 0; i < kStacksTogether; ++i) fibers[i].memory = memory + i * kStackStride;
  }
  return &grid.fibers[warp / kWarps][warp % kWarps * 32];
}

// In order: a warp goes on until all its lanes wait. Random: a warp runs far ahead of the others, its lanes
// in a random order, until by chance another is chosen.
Fiber* take_next() {
  if (ready_count == 0) return nullptr;
  --ready_count;
  unsigned rotation = 0;
  if (options.seed == 0) {
    while (grid.warps[turn].ready == 0) turn = turn + 1 == grid.warps.size() ? 0 : turn + 1;
  } else {
    rotation = random_below(32);
    if (grid.warps[turn].ready == 0 || random_below(256) == 0) {
      do {
        turn = random_below(grid.warps.size());
      } while (grid.warps[turn].ready == 0);
    }
  }
  Warp& warp = grid.warps[turn];
  const unsigned lane =
      (static_cast<unsigned>(std::countr_zero(std::rotr(warp.ready, static_cast<int>(rotation)))) +
       rotation) %
      32;
  warp.ready &= ~(1u << lane);
  return &warp.fibers[lane];
}

void go_on_with(Fiber* next) {
  Fiber* const previous = grid.current;
  if (next == previous) return;
  grid.current = next;
  if (next != nullptr) {
    threadIdx = next->index;
    blockIdx = next->warp->block->index;
  }
  change(previous != nullptr ? previous->stack : grid.launcher,
         next != nullptr ? next->stack : grid.launcher);
}

void end_of_thread() {
  Fiber& fiber = *grid.current;
  Warp& warp = *fiber.warp;
  Block& block = *warp.block;
  if (!fiber.copies.empty()) fail(text(fiber) + " ended with cp.async copies that it never waited for");
  const uint32_t bit = 1u << fiber.lane;
  warp.ended |= bit;
  for (uint32_t rest = warp.in_instruction; rest != 0; rest &= rest - 1) {
    const Fiber& other = warp.fibers[std::countr_zero(rest)];
    if ((other.mask & bit) != 0) {
      fail(text(fiber) + " ended while " + text(other) + " waits for it in " + other.name + " at " +
           text(other.site));
    }
  }
  if (--block.live != 0 && block.arrived == block.live) open_barrier(block);
  go_on_with(take_next());
}

void fiber_main() {
  grid.thread();
  end_of_thread();
}

void start(Block& block) {
  const dim3 size = grid.shape.block;
  block.live = grid.threads;
  block.arrived = 0;
  block.votes = block.result = 0;
  block.first_epoch = block.epoch = ++grid.clock;
  block.warps = &grid.warps[block.slot * grid.warps_per_block];
  for (auto& array : grid.shared_arrays) {
    if (array.slot == block.slot) {
      array.region->owner = &block;
      poison(*array.region);
    }
  }
  for (unsigned w = 0; w < grid.warps_per_block; ++w) {
    Warp& warp = block.warps[w];
    warp = {};
    warp.block = &block;
    warp.fibers = fibers_of_warp(block.slot * grid.warps_per_block + w);
    warp.first_thread = 32 * w;
    warp.epoch = ++grid.clock;
    const unsigned lanes = std::min(32u, grid.threads - 32 * w);
    warp.ended = lanes == 32 ? 0 : ~0u << lanes;
    for (unsigned lane = 0; lane < lanes; ++lane) {
      Fiber& fiber = warp.fibers[lane];
      const unsigned thread = 32 * w + lane;
      fiber.warp = &warp;
      fiber.lane = lane;
      fiber.index = {thread % size.x, thread / size.x % size.y, thread / size.x / size.y};
      fiber.copies.clear();
      fiber.copy_group = 0;
      prepare(fiber.stack, fiber.memory, kStackBytes, fiber_main);
    }
    make_ready(warp, ~warp.ended);
  }
}

std::string waiting_threads() {
  struct Group {
    std::string label;
    const Fiber* first;
    int count;
  };
  std::vector<Group> groups;
  for (const Warp& warp : grid.warps) {
    for (uint32_t rest = ~warp.ended; rest != 0; rest &= rest - 1) {
      const Fiber& fiber = warp.fibers[std::countr_zero(rest)];
      const std::string label = std::string(fiber.name) + " at " + text(fiber.site);
      const auto same = [&](const Group& group) { return group.label == label; };
      const auto group = std::find_if(groups.begin(), groups.end(), same);
      if (group == groups.end())
        groups.push_back({label, &fiber, 1});
      else
        ++group->count;
    }
  }
  std::string all;
  for (const Group& group : groups) {
    all += "; " + std::to_string(group.count) + " wait in " + group.label + ", first " + text(*group.first);
  }
  return all;
}

// Runs the blocks that are started until all their threads ended.
void run_ready() {
  go_on_with(take_next());
  running = nullptr;
  if (!grid.error.empty()) return;
  for (const Block& block : grid.blocks) {
    if (block.live != 0) {
      grid.error = "deadlock, not all threads reach the same point" + waiting_threads();
      return;
    }
  }
}

std::vector<unsigned> order_of_blocks(size_t count) {
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  if (options.seed == 0) return order;
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random_below(i)]);
  return order;
}

}  // namespace

std::string run_grid(const LaunchShape& shape, std::function<void()> thread) {
  const size_t count = size_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  const size_t together = shape.cooperative ? count : 1;
  grid.shape = shape;
  grid.thread = std::move(thread);
  grid.threads = shape.block.x * shape.block.y * shape.block.z;
  grid.warps_per_block = (grid.threads + 31) / 32;
  grid.warps.assign(together * grid.warps_per_block, {});
  grid.static_shared_bytes = 0;
  grid.epoch = ++grid.clock;
  grid.arrived = 0;
  grid.current = nullptr;
  grid.error.clear();
  gridDim = shape.grid;
  blockDim = shape.block;
  random_state = options.seed;
  turn = ready_count = 0;
  const std::vector<unsigned> order = order_of_blocks(count);
  for (size_t done = 0; done < count && grid.error.empty(); done += together) {
    grid.blocks.assign(together, {});
    for (size_t slot = 0; slot < together; ++slot) {
      const unsigned number = order[done + slot];
      Block& block = grid.blocks[slot];
      block.slot = slot;
      block.number = number;
      block.index = {number % shape.grid.x, number / shape.grid.x % shape.grid.y,
                     number / shape.grid.x / shape.grid.y};
      start(block);
    }
    run_ready();
  }
  if (grid.error.empty()) grid.error = damaged_guard();
  for (auto& array : grid.shared_arrays) release_region(*array.region);
  grid.shared_arrays.clear();
  grid.thread = nullptr;
  return std::move(grid.error);
}

void make_ready(Warp& warp, uint32_t lanes) {
  warp.ready |= lanes;
  ready_count += static_cast<size_t>(std::popcount(lanes));
}

void enter_kernel() { running = grid.current; }
void leave_kernel() { running = nullptr; }

void wait() { go_on_with(take_next()); }

void yield() {
  make_ready(*grid.current->warp, 1u << grid.current->lane);
  go_on_with(take_next());
}

void fail(const std::string& message) {
  grid.error = message;
  go_on_with(nullptr);
  __builtin_unreachable();
}

unsigned random_below(size_t bound) {  // splitmix64
  uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return static_cast<unsigned>((z ^ z >> 31) % bound);
}

}  // namespace emulator
