// Holds the running launch: its blocks, warps and threads, and which of them runs next.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "emulator.h"
#include "location.h"
#include "memory.h"
#include "stack.h"

namespace emulator {

constexpr size_t kStackBytes = 64 << 10, kStacksTogether = 256;

struct Copy {  // of cp.async
  char* to;
  const char* from;
  size_t bytes, valid;
  int group;
};

struct Warp;

struct Fiber {
  Stack stack;
  char* memory;  // of the stack
  Warp* warp;
  unsigned lane;
  uint3 index;  // threadIdx
  // The barrier or warp instruction that it waits in.
  const char* name;
  Site site;
  uint32_t mask;
  WarpWork work;
  Lane io;
  // Copies that have not landed, and the number of the group that is open.
  std::vector<Copy> copies;
  int copy_group;
};

// Each mask has a bit per lane.
struct Warp {
  Block* block;
  Fiber* fibers;  // of lane 0
  unsigned first_thread;
  uint32_t ready, in_instruction, at_barrier, at_grid, ended;
  uint32_t epoch;  // of the last __syncwarp
};

struct Block {
  uint3 index;  // blockIdx
  unsigned number;
  size_t slot;  // among the blocks that run together
  Warp* warps;
  unsigned live, arrived;  // threads that have not ended; those at the barrier
  uint32_t first_epoch, epoch;
  int votes, result;
  Site site;
};

struct Grid {
  LaunchShape shape;
  std::function<void()> thread;
  unsigned threads, warps_per_block;  // of a block
  std::vector<Block> blocks;          // that run now: one, or all of a cooperative launch
  std::vector<Warp> warps;
  struct SharedArray {
    const void* key;
    size_t slot;
    Region* region;
  };
  std::vector<SharedArray> shared_arrays;
  size_t static_shared_bytes;
  uint32_t clock, epoch;  // times of barriers; of the beginning or last grid barrier
  unsigned arrived;       // threads at the grid barrier
  Fiber* current;         // null: the launching thread
  Stack launcher;
  std::string error;
  std::vector<std::unique_ptr<Fiber[]>> fibers;  // kStacksTogether each; kept from launch to launch
};
// Never destroyed: a thread may run a kernel while the process ends.
extern Grid& grid;

// The fiber whose kernel code runs on this thread; null in the emulator and on every other thread.
extern constinit thread_local Fiber* running __attribute__((tls_model("initial-exec")));
// Marks code of the emulator that kernel code called.
class InEmulator {
 public:
  InEmulator() : fiber_(running) { running = nullptr; }
  ~InEmulator() { running = fiber_; }
  InEmulator(const InEmulator&) = delete;

 private:
  Fiber* fiber_;
};

// Runs all blocks. Returns what went wrong, or an empty string.
std::string run_grid(const LaunchShape& shape, std::function<void()> thread);

void make_ready(Warp& warp, uint32_t lanes);
// Others run until the current fiber, whose bit is in one of its warp's masks, is made ready again.
void wait();
// Makes it ready at once, so that the order of all who are decides.
void yield();
// Ends the launch with this message: goes back to the launching thread and leaves all fibers as they are.
[[noreturn]] void fail(const std::string& message);
void open_barrier(Block& block);
unsigned random_below(size_t bound);

// Bounds, initialisation and races of an access by kernel code at `code`.
enum class Access { kRead, kWrite, kAtomic };
void check_access(const Fiber& fiber, const void* memory, size_t bytes, Access access, const void* code);
void check_alignment(const Fiber& fiber, const void* memory, size_t bytes, Access access, const void* code);

std::string text(const Fiber& fiber);

}  // namespace emulator
