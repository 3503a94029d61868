// The emulator's run time (to be split). Compile it without -fsanitize=thread: the checked build compiles
// only the kernels with it and this file provides the functions the compiler then calls at every load and
// store (libtsan is not linked).
#include "emulator.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define WITH_ASAN 1
#else
#define WITH_ASAN 0
#endif

extern "C" __attribute__((visibility("hidden"))) char __ehdr_start, _end;

namespace emulator {
namespace {

enum class State { ready, at_barrier, at_grid, in_warp, done };
struct Block;
struct Copy {
  char* to;
  const char* from;
  size_t bytes, valid;
};
struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer
  Block* block = nullptr;
  unsigned thread = 0, warp = 0;  // in the block; among all running warps
  uint3 index{};
  State state = State::done;
  Site site;
  const char* what = "";
  uint32_t mask = 0;
  Work work = nullptr;
  Lane io{};
  std::deque<std::vector<Copy>> copies;  // committed groups of cp.async, then the open one
};
struct Block {
  uint3 index{};
  unsigned number = 0, live = 0, arrived = 0, epoch = 0, slot = 0;
  int votes = 0, result = 0;
  Site site;
  std::vector<Fiber*> fibers;
  std::vector<unsigned> warp_epoch;
  std::vector<uint32_t> waiting, ended;  // per warp: lanes in a collective, lanes that returned
};

// Who touched a granule of memory last, for the race check.
struct Touch {
  unsigned who = 0, block_epoch = 0, warp_epoch = 0;
  uint32_t pc = 0;
  bool atomic = false;
};
struct Cell {
  Touch write, read[2];
};
struct Region {
  char* base;
  size_t bytes, element;
  std::string name;
  bool live, shared;
  unsigned slot;
  std::vector<uint8_t> written;
  std::vector<Cell> cells;
};

constexpr size_t page = 4096, arena_bytes = size_t(1) << 30, stack_bytes = WITH_ASAN ? 256 << 10 : 64 << 10;
struct Machine {
  char* arena = nullptr;
  size_t arena_used = page;
  std::vector<int> owner = std::vector<int>(arena_bytes / page, -1);
  std::deque<Region> regions;
  size_t live_regions = 0;
  std::vector<std::unique_ptr<Fiber>> fibers;
  size_t ready_count = 0;
  std::deque<Fiber*> in_order;             // ready fibers when the seed is 0
  std::vector<std::vector<Fiber*>> ready;  // otherwise: per warp
  unsigned favourite = 0;                  // the warp a random schedule prefers
  Fiber* current = nullptr;
  void* main_pointer = nullptr;
  const void* main_stack = nullptr;
  size_t main_stack_bytes = 0;
  void (*thread)(const void*) = nullptr;
  const void* context = nullptr;  // the launch's arguments
  size_t context_bytes = 0;
  std::string kernel, error;
  std::vector<std::unique_ptr<Block>> blocks;  // those running now: one, or all of a cooperative launch
  std::vector<std::pair<const void*, Region*>> shared_arrays;  // of this launch
  size_t dynamic_bytes = 0, shared_bytes = 0;
  unsigned clock = 0, grid_epoch = 0, grid_arrived = 0;
  uint64_t random = 0;
  bool cooperative = false;
} m;
constinit bool inside =
    false;  // in the emulator: loads and stores are its own (it may share inlined std functions with kernels)
struct Inside {
  Inside() { inside = true; }
  ~Inside() { inside = false; }
};
constinit bool checked = false;  // apart from `m`: set before constructors run

std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}
std::string text(const Site& s) {
  const char* slash = strrchr(s.file_name(), '/');
  return std::string(slash ? slash + 1 : s.file_name()) + ":" + std::to_string(s.line());
}
std::string text(const Fiber& f) { return "thread " + text(f.index) + " of block " + text(f.block->index); }
std::string place(uint32_t pc) {  // file:line of an instruction, by addr2line
  if (!pc) return "?";
  char command[256], line[512];
  snprintf(command, sizeof command, "addr2line -i -s -e /proc/%d/exe 0x%x 2>/dev/null", getpid(), pc - 1);
  std::string all;
  if (FILE* out = popen(command, "r")) {
    while (fgets(line, sizeof line, out)) {
      line[strcspn(line, "\n ")] = 0;
      all += (all.empty() ? "" : " in ") + std::string(line);
    }
    pclose(out);
  }
  return all;
}
uint32_t short_pc(const void* pc) { return uint32_t(static_cast<const char*>(pc) - &__ehdr_start); }
unsigned random_below(size_t n) {  // splitmix64
  uint64_t z = m.random += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return unsigned((z ^ z >> 31) % n);
}

// ---- fibers
// ----------------------------------------------------------------------------------------------------
extern "C" void emu_switch(void** save, void* load);
asm(R"(
.text
.globl emu_switch
emu_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

void resume(Fiber* next) {  // next == nullptr: the launching thread
  Fiber* previous = m.current;
  if (next && next == previous) return;
  static void* main_fake = nullptr;
#if WITH_ASAN
  void** fake = previous ? (previous->state == State::done ? nullptr : &previous->fake_stack) : &main_fake;
  __sanitizer_start_switch_fiber(fake, next ? next->stack : m.main_stack,
                                 next ? stack_bytes : m.main_stack_bytes);
#endif
  m.current = next;
  if (next) threadIdx = next->index, blockIdx = next->block->index;
  emu_switch(previous ? &previous->stack_pointer : &m.main_pointer,
             next ? next->stack_pointer : m.main_pointer);
#if WITH_ASAN
  __sanitizer_finish_switch_fiber(previous ? previous->fake_stack : main_fake, nullptr, nullptr);
#endif
  (void)main_fake;
}
Fiber* pick() {
  if (!m.ready_count) return nullptr;
  m.ready_count--;
  if (!options.seed) {
    Fiber* next = m.in_order.front();
    m.in_order.pop_front();
    return next;
  }
  // Run one warp far ahead of the others, its lanes in random order; now and then choose another.
  if (m.ready[m.favourite].empty() || !random_below(256)) do
      m.favourite = random_below(m.ready.size());
    while (m.ready[m.favourite].empty());
  auto& warp = m.ready[m.favourite];
  std::swap(warp[random_below(warp.size())], warp.back());
  Fiber* next = warp.back();
  warp.pop_back();
  return next;
}
void make_ready(Fiber* f) {
  f->state = State::ready, m.ready_count++;
  if (options.seed)
    m.ready[f->warp].push_back(f);
  else
    m.in_order.push_back(f);
}
void wait(State state, Site site, const char* what) {
  m.current->state = state, m.current->site = site, m.current->what = what;
  resume(pick());
}
void open_barrier(Block& b) {
  b.arrived = 0, b.epoch = ++m.clock, b.result = b.votes, b.votes = 0;
  for (Fiber* f : b.fibers)
    if (f->state == State::at_barrier) make_ready(f);
}
void finish_fiber() {
  Fiber* f = m.current;
  for (auto& group : f->copies)
    if (!group.empty()) fail(text(*f) + " ended with cp.async copies it never waited for");
  Block& b = *f->block;
  unsigned w = f->thread / 32, bit = 1u << f->thread % 32;
  b.ended[w] |= bit;
  for (uint32_t rest = b.waiting[w]; rest; rest &= rest - 1) {
    Fiber* other = b.fibers[w * 32 + unsigned(std::countr_zero(rest))];
    if (other->mask & bit)
      fail(text(*f) + " ended while " + text(*other) + " waits for it in " + other->what + " at " +
           text(other->site));
  }
  f->state = State::done;
  if (--b.live && b.arrived == b.live) open_barrier(b);
  resume(pick());
}
[[noreturn]] void fiber_main() {
#if WITH_ASAN
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (!m.main_stack)
    m.main_stack = bottom, m.main_stack_bytes = bytes;  // the first fiber is entered from there
#endif
  inside = false;
  m.thread(m.context);
  inside = true;
  finish_fiber();
  __builtin_unreachable();
}
void start(Fiber* f) {
#if WITH_ASAN
  __asan_unpoison_memory_region(f->stack, stack_bytes);
#endif
  void** top = reinterpret_cast<void**>(f->stack + stack_bytes - 64);
  *--top = nullptr;  // fiber_main's "return address"; keeps the ABI's alignment
  *--top = reinterpret_cast<void*>(fiber_main);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  f->stack_pointer = top;
  f->copies.assign(1, {});
  make_ready(f);
}
std::string waiting_threads() {
  std::string all;
  struct Group {
    std::string label;
    Fiber* first;
    int count;
  };
  std::vector<Group> groups;
  for (auto& b : m.blocks)
    for (Fiber* f : b->fibers) {
      if (f->state == State::done) continue;
      std::string label = std::string(f->what) + " at " + text(f->site);
      if (f->state == State::in_warp) {
        char hex[32];
        snprintf(hex, sizeof hex, " mask %08x", f->mask);
        label += hex;
      }
      auto g = std::find_if(groups.begin(), groups.end(), [&](Group& g) { return g.label == label; });
      if (g == groups.end())
        groups.push_back({label, f, 1});
      else
        g->count++;
    }
  for (auto& g : groups)
    all += "\n    " + std::to_string(g.count) + " thread(s) wait in " + g.label + ", first " + text(*g.first);
  return all;
}
void run_ready() {
  if (Fiber* first = pick()) resume(first);
  m.current = nullptr;
  if (!m.error.empty()) return;
  for (auto& b : m.blocks)
    if (b->live) {
      m.error = "deadlock: not all threads reach the same point" + waiting_threads();
      return;
    }
}

// ---- memory
// ----------------------------------------------------------------------------------------------------
void make_arena() {
  if (m.arena) return;
  m.arena = static_cast<char*>(
      mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  memset(m.arena, 0xa5, page);
}
size_t room(size_t bytes) {
  return (bytes + page - 1) / page * page + page;
}  // at least a page of guard follows
Region* make_region(size_t bytes, size_t element, const char* name, bool shared) {
  make_arena();
  if (m.arena_used + room(bytes) > arena_bytes) throw Error("emulated device memory is full");
  Region r{m.arena + m.arena_used, bytes, element, name, true, shared, 0, {}, {}};
  for (size_t i = 0; i < room(bytes) / page; i++) m.owner[m.arena_used / page + i] = int(m.regions.size());
  m.arena_used += room(bytes);
  m.live_regions++;
#if WITH_ASAN
  __asan_unpoison_memory_region(r.base - page, room(bytes) + page);
#endif
  memset(r.base, 0xff, bytes);
  memset(r.base + bytes, 0xa5, room(bytes) - bytes);
#if WITH_ASAN
  __asan_poison_memory_region(r.base - page, page);
  __asan_poison_memory_region(r.base + bytes, room(bytes) - bytes);
#endif
  if (checked) r.written.assign(bytes, 0), r.cells.assign((bytes + element - 1) / element, {});
  m.regions.push_back(std::move(r));
  return &m.regions.back();
}
Region* find(const void* p) {
  size_t offset = size_t(static_cast<const char*>(p) - m.arena);
  if (!m.arena || offset >= arena_bytes || m.owner[offset / page] < 0) return nullptr;
  return &m.regions[m.owner[offset / page]];
}
void drop_region(Region& r) {
  r.live = false, r.written = {}, r.cells = {};
  if (--m.live_regions == 0) {
#if WITH_ASAN
    __asan_unpoison_memory_region(m.arena, m.arena_used);
#endif
    m.arena_used = page, m.regions.clear(), std::fill(m.owner.begin(), m.owner.end(), -1);
  }
}
std::string guard_error() {
#if !WITH_ASAN
  for (Region& r : m.regions) {
    if (!r.live) continue;
    size_t n = room(r.bytes);
    for (size_t i = r.bytes; i < n; i++)
      if (uint8_t(r.base[i]) != 0xa5)
        return "guard overwritten " + std::to_string(i - r.bytes) + " bytes behind the end of " + r.name +
               " (" + std::to_string(r.bytes) + " bytes)";
  }
#endif
  return "";
}
void poison_shared(Block& b) {
  for (auto& [key, r] : m.shared_arrays)
    if (r->slot == b.slot) {
      memset(r->base, 0xff, r->bytes);
      if (checked) r->written.assign(r->bytes, 0), r->cells.assign(r->cells.size(), {});
    }
}
bool ordered(const Touch& t, const Fiber& f) {  // did `t` happen before what `f` does now?
  unsigned threads = unsigned(f.block->fibers.size()), me = f.block->number * threads + f.thread + 1;
  if (!t.who || t.who == me || t.block_epoch < m.grid_epoch) return true;
  if ((t.who - 1) / threads != f.block->number) return false;
  if (t.block_epoch != f.block->epoch) return true;
  return (t.who - 1) % threads / 32 == f.thread / 32 && t.warp_epoch != f.block->warp_epoch[f.thread / 32];
}
std::string describe(const Touch& t, const Fiber& f) {
  unsigned threads = unsigned(f.block->fibers.size());
  return "thread " + std::to_string((t.who - 1) % threads) + " of block " +
         std::to_string((t.who - 1) / threads) + " at " + place(t.pc);
}
}  // namespace

namespace {
void check_access(Fiber& fiber, const void* memory, size_t bytes, Access access, const void* pc) {
  Fiber* f = &fiber;
  const char* p = static_cast<const char*>(memory);
  uint32_t at = short_pc(pc);
  const char* verb = access == Access::read ? "read" : access == Access::write ? "write" : "atomic";
  auto complain = [&](const std::string& what) {
    fail(std::string(what) + ": " + std::to_string(bytes) + "-byte " + verb + " by " + text(*f) + " at " +
         place(at));
  };
  if (p >= f->stack && p < f->stack + stack_bytes) return;
  if (p < m.arena || p >= m.arena + arena_bytes) {
    if (p >= m.context && p < static_cast<const char*>(m.context) + m.context_bytes && access == Access::read)
      return;
    if (p >= &__ehdr_start && p < &_end && access == Access::read) return;  // constants
    if (p >= reinterpret_cast<char*>(&threadIdx) && p < &_end) return;
    complain("host memory or another thread's stack used in a kernel");
  }
  Region* r = find(p);
  if (!r || !r->live) complain("access to memory that is not allocated");
  if (p < r->base || p + bytes > r->base + r->bytes)
    complain("out of bounds, byte " + std::to_string(p - r->base) + " of " + r->name + " (" +
             std::to_string(r->bytes) + " bytes)");
  if (r->shared && r->slot != f->block->slot) complain("access to another block's shared memory");
  if (bytes <= 16 && reinterpret_cast<uintptr_t>(p) % bytes) complain("misaligned access to " + r->name);
  if (!checked) return;
  size_t offset = size_t(p - r->base), first = offset / r->element, last = (offset + bytes - 1) / r->element;
  unsigned threads = unsigned(f->block->fibers.size());
  Touch now{f->block->number * threads + f->thread + 1, f->block->epoch, f->block->warp_epoch[f->thread / 32],
            at, access == Access::atomic};
  auto race = [&](const Touch& other, const char* how) {
    complain(std::string("race on ") + r->name + "[" + std::to_string(first) + "], no barrier since the " +
             how + " by " + describe(other, *f));
  };
  if (access != Access::write)
    for (size_t i = 0; i < bytes; i++)
      if (!r->written[offset + i])
        complain("uninitialised " + r->name + "[" + std::to_string((offset + i) / r->element) + "]");
  for (size_t i = first; i <= last; i++) {
    Cell& c = r->cells[i];
    if (!ordered(c.write, *f) && !(now.atomic && c.write.atomic)) race(c.write, "write");
    if (access == Access::read) {
      if (ordered(c.read[0], *f))
        c.read[0] = now;
      else if (c.read[0].who != now.who)
        c.read[1] = now;
    } else {
      for (Touch& t : c.read)
        if (!ordered(t, *f)) race(t, "read");
      c.write = now;
    }
  }
  if (access == Access::write) std::fill_n(r->written.begin() + long(offset), bytes, 1);
}
}  // namespace

void touch(const void* memory, size_t bytes, Access access, const void* pc) {
  Fiber* f = m.current;
  if (!f || inside) return;
  Inside guard;
  check_access(*f, memory, bytes, access, pc);
}

void* allocate(size_t bytes, size_t element, const char* name) {
  return make_region(bytes, element, name, false)->base;
}
void release(void* memory) {
  if (Region* r = find(memory)) drop_region(*r);
}
void set_initialised(void* memory, size_t bytes) {
  Region* r = find(memory);
  if (r && checked) std::fill_n(r->written.begin() + (static_cast<char*>(memory) - r->base), bytes, 1);
}
size_t first_unwritten(const void* memory, size_t bytes) {
  Region* r = find(memory);
  if (!r || !checked) return bytes;
  auto from = r->written.begin() + (static_cast<const char*>(memory) - r->base);
  return size_t(std::find(from, from + long(bytes), 0) - from);
}
void check_guards() {
  if (auto e = guard_error(); !e.empty()) throw Error(e);
}
bool checked_build() { return checked; }
void set_checked() { checked = true; }

void* shared_array(const void* key, size_t bytes, const char* name) {
  Inside guard;
  for (auto& [known, r] : m.shared_arrays)
    if (known == key && r->slot == m.current->block->slot) return r->base;
  Region* r = make_region(bytes, 1, name, true);
  r->slot = m.current->block->slot;
  m.shared_arrays.push_back({key, r});
  if (r->slot == 0 && (m.shared_bytes += bytes) > options.shared_limit)
    fail("more shared memory than " + std::to_string(options.shared_limit) + " bytes");
  return r->base;
}
void* dynamic_shared() {
  if (!m.dynamic_bytes) fail("dynamic shared memory used but the launch gives none");
  return shared_array(&m.dynamic_bytes, m.dynamic_bytes, "dynamic shared memory");
}

static void run_grid(const Launch& launch, void (*thread)(const void*), const void* context,
                     size_t context_bytes) {
  auto [kernel, grid, block, shared_bytes, stream, cooperative] = launch;
  size_t threads = size_t(block.x) * block.y * block.z, blocks = size_t(grid.x) * grid.y * grid.z;
  auto bad = [&](const std::string& why) { throw Error(std::string(kernel) + ": " + why); };
  if (!threads || threads > 1024 || !blocks || grid.y > 65535 || grid.z > 65535)
    bad("impossible grid or block size");
  if (m.current) bad("launch inside a kernel");
  Inside guard;
  make_arena();
  m.kernel = kernel, m.error.clear(), m.thread = thread, m.context = context, m.context_bytes = context_bytes,
  m.cooperative = cooperative, m.dynamic_bytes = shared_bytes, m.shared_bytes = 0;
  m.random = options.seed, m.grid_epoch = ++m.clock, m.grid_arrived = 0;
  m.ready_count = 0, m.in_order.clear(), m.favourite = 0;
  gridDim = grid, blockDim = block;
  size_t slots = cooperative ? blocks : 1, warps = (threads + 31) / 32;
  m.ready.assign(slots * warps, {});
  while (m.fibers.size() < slots * threads) {
    m.fibers.push_back(std::make_unique<Fiber>());
    m.fibers.back()->stack = static_cast<char*>(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
  std::vector<unsigned> order(blocks);
  for (unsigned i = 0; i < blocks; i++) order[i] = i;
  if (options.seed)
    for (size_t i = blocks; i > 1; i--) std::swap(order[i - 1], order[random_below(i)]);
  for (size_t done = 0; done < blocks && m.error.empty(); done += slots) {
    m.blocks.clear();
    for (size_t s = 0; s < slots; s++) {
      auto b = std::make_unique<Block>();
      unsigned n = order[done + s];
      b->index = {n % grid.x, n / grid.x % grid.y, n / grid.x / grid.y};
      b->number = n, b->slot = unsigned(s), b->live = unsigned(threads), b->epoch = ++m.clock;
      b->warp_epoch.assign(warps, ++m.clock), b->waiting.assign(warps, 0), b->ended.assign(warps, 0);
      if (threads % 32) b->ended.back() = ~0u << threads % 32;
      poison_shared(*b);
      for (unsigned t = 0; t < threads; t++) {
        Fiber* f = m.fibers[s * threads + t].get();
        f->block = b.get(), f->thread = t, f->warp = unsigned(s * warps + t / 32),
        f->index = {t % block.x, t / block.x % block.y, t / block.x / block.y};
        b->fibers.push_back(f);
        start(f);
      }
      m.blocks.push_back(std::move(b));
    }
    run_ready();
    if (m.error.empty()) m.error = guard_error();
  }
  m.blocks.clear();
  for (auto& [key, r] : m.shared_arrays) drop_region(*r);
  m.shared_arrays.clear();
  if (!m.error.empty())
    throw Error(std::string(kernel) + " (schedule " + std::to_string(options.seed) + "): " + m.error);
}

void fail(const std::string& message) {  // abandons all fibers and goes back to the launch
  if (!m.current) throw Error(message);
  inside = true, m.error = message;
  m.current->state = State::done;
  resume(nullptr);
  __builtin_unreachable();
}

// ---- barriers and warp collectives
// -----------------------------------------------------------------------------
int lane() { return int(m.current->thread % 32); }

int block_barrier(int value, Site site) {
  Inside guard;
  Fiber* f = m.current;
  Block& b = *f->block;
  if (b.arrived && (b.site.line() != site.line() || b.site.column() != site.column()))
    fail("divergent barrier: " + text(*f) + " is at " + text(site) + " while others wait at " + text(b.site));
  b.site = site, b.votes += value != 0;
  if (++b.arrived == b.live)
    open_barrier(b);
  else {
    wait(State::at_barrier, site, "__syncthreads");
    return b.result;
  }
  int result = b.result;
  make_ready(f);
  resume(pick());  // the last one to arrive must not always be the first to go on
  return result;
}

void grid_barrier(Site site) {
  Inside guard;
  if (!m.cooperative) fail("grid_sync without a cooperative launch");
  size_t live = 0;
  for (auto& b : m.blocks) live += b->live;
  if (++m.grid_arrived < live) return wait(State::at_grid, site, "grid_sync");
  m.grid_arrived = 0, m.grid_epoch = ++m.clock;
  for (auto& b : m.blocks) {
    b->epoch = ++m.clock;
    for (Fiber* f : b->fibers)
      if (f->state == State::at_grid) make_ready(f);
  }
  make_ready(m.current);
  resume(pick());
}

void collective(const char* what, Work work, uint32_t mask, Lane io, Site site) {
  Inside guard;
  Fiber* f = m.current;
  Block& b = *f->block;
  unsigned w = f->thread / 32, first = w * 32;
  uint32_t bit = 1u << f->thread % 32;
  f->mask = mask, f->work = work, f->io = io, f->what = what, f->site = site;
  if (!(mask & bit))
    fail(std::string(what) + " at " + text(site) + ": " + text(*f) + " is not in its own mask");
  if (mask & b.ended[w])
    fail(std::string(what) + " at " + text(site) + ": its mask names lane " +
         std::to_string(std::countr_zero(mask & b.ended[w])) +
         " which has ended or does not exist; called by " + text(*f));
  auto compare = [&](uint32_t others) {
    for (; others; others &= others - 1) {
      Fiber* o = b.fibers[first + unsigned(std::countr_zero(others))];
      if (o->mask != mask || o->work != work || o->site.line() != site.line() ||
          o->site.column() != site.column())
        fail("divergent warp: " + text(*f) + " is in " + what + " at " + text(site) + " while " + text(*o) +
             " is in " + o->what + " at " + text(o->site));
    }
  };
  uint32_t others = b.waiting[w] & mask;
  b.waiting[w] |= bit;
  if ((others | bit) != mask) {
    compare(others & -others);  // one is enough: the last to arrive compares with all
    return wait(State::in_warp, site, what);
  }
  compare(others);
  b.waiting[w] &= ~mask;
  Lane lanes[32];
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned i = unsigned(std::countr_zero(rest));
    lanes[i] = b.fibers[first + i]->io;
  }
  if (work)
    work(lanes, mask);
  else
    b.warp_epoch[w] = ++m.clock;
  for (uint32_t rest = mask; rest; rest &= rest - 1)
    make_ready(b.fibers[first + unsigned(std::countr_zero(rest))]);
  resume(pick());
}
void warp_barrier(uint32_t mask, Site site) { collective("__syncwarp", nullptr, mask, {}, site); }

void exchange(Lane* lanes, uint32_t mask) {
  for (int i = 0; i < 32; i++) {
    if (!(mask >> i & 1)) continue;
    if (!(mask >> lanes[i].argument & 1))
      fail("shuffle reads lane " + std::to_string(lanes[i].argument) + " which is not in the mask");
    memcpy(lanes[i].out, lanes[lanes[i].argument].in, 8);
  }
}
void gather(Lane* lanes, uint32_t mask) {
  for (int i = 0; i < 32; i++)
    for (int j = 0; j < 32; j++)
      if ((mask >> i & 1) && (mask >> j & 1))
        memcpy(static_cast<uint64_t*>(lanes[i].out) + j, lanes[j].in, 8);
}

// ---- PTX
// -------------------------------------------------------------------------------------------------------
namespace {
struct Fragments {
  const uint32_t *a, *b;
};
float from_bf16(uint32_t v) { return std::bit_cast<float>(v << 16); }
float from_f16(uint32_t v) { return float(std::bit_cast<_Float16>(uint16_t(v))); }
float from_tf32(uint32_t v) { return std::bit_cast<float>(v & ~0x1fffu); }

template <float (*convert)(uint32_t)>
void mma(Lane* lanes, uint32_t) {
  constexpr bool wide = convert == from_tf32;  // 32-bit inputs: k = 8, one value per register
  constexpr int depth = wide ? 8 : 16;
  float a[16][depth], b[depth][8];
  for (int lane = 0; lane < 32; lane++) {
    auto& in = *static_cast<const Fragments*>(lanes[lane].in);
    int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; r++)
      for (int e = 0; e < (wide ? 1 : 2); e++) {
        int row = g + r % 2 * 8, k = wide ? t + r / 2 * 4 : 2 * t + e + r / 2 * 8;
        a[row][k] = convert(in.a[r] >> 16 * e & (wide ? ~0u : 0xffffu));
        if (r < 2)
          b[wide ? t + r * 4 : 2 * t + e + r * 8][g] = convert(in.b[r] >> 16 * e & (wide ? ~0u : 0xffffu));
      }
  }
  for (int lane = 0; lane < 32; lane++) {
    float* d = static_cast<float*>(lanes[lane].out);
    for (int i = 0; i < 4; i++) {
      int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = d[i];
      for (int k = 0; k < depth; k++) sum += double(a[row][k]) * b[k][column];
      d[i] = float(sum);
    }
  }
}
void load_matrices(Lane* lanes, uint32_t) {  // argument: count * 2 + transpose
  int count = lanes[0].argument / 2;
  bool transpose = lanes[0].argument % 2;
  uint16_t rows[4][8][8];
  for (int i = 0; i < count * 8; i++) memcpy(rows[i / 8][i % 8], lanes[i].in, 16);
  for (int lane = 0; lane < 32; lane++)
    for (int i = 0; i < count; i++) {
      int r = lane / 4, c = lane % 4 * 2;
      uint32_t low = transpose ? rows[i][c][r] : rows[i][r][c],
               high = transpose ? rows[i][c + 1][r] : rows[i][r][c + 1];
      static_cast<uint32_t*>(lanes[lane].out)[i] = low | high << 16;
    }
}
void land(const Copy& c, const void* pc) {
  check_access(*m.current, c.to, c.bytes, Access::write, pc);
  memset(c.to, 0, c.bytes);
  memcpy(c.to, c.from, c.valid);
}
}  // namespace

void mma_m16n8k16_bf16(float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Fragments in{a, b};
  collective("mma bf16", mma<from_bf16>, ~0u, {&in, d, 0}, site);
}
void mma_m16n8k16_f16(float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Fragments in{a, b};
  collective("mma f16", mma<from_f16>, ~0u, {&in, d, 0}, site);
}
void mma_m16n8k8_tf32(float* d, const uint32_t* a, const uint32_t* b, Site site) {
  Fragments in{a, b};
  collective("mma tf32", mma<from_tf32>, ~0u, {&in, d, 0}, site);
}
void mma_m16n8k8_f16(float* d, uint32_t a0, uint32_t a1, uint32_t b, Site site) {
  uint32_t a[] = {a0, a1, 0, 0}, bb[] = {b, 0};
  Fragments in{a, bb};
  collective("mma f16", mma<from_f16>, ~0u, {&in, d, 0}, site);
}
void ldmatrix(uint32_t* d, int count, bool transpose, const void* row, Site site) {
  inside = true;
  if (lane() < count * 8) {
    Region* r = find(row);
    if (!r || !r->shared)
      fail("ldmatrix at " + text(site) + ": not a shared memory address, " + text(*m.current));
    check_access(*m.current, row, 16, Access::read, __builtin_return_address(0));
  }
  collective("ldmatrix", load_matrices, ~0u, {row, d, count * 2 + transpose}, site);
}

// A copy lands only when it is waited for (in random schedules, perhaps at once), so that a missing wait
// leaves poison.
void copy_async(void* to, const void* from, size_t bytes, size_t valid) {
  Inside guard;
  const void* pc = __builtin_return_address(0);
  Region* r = find(to);
  if (!r || !r->shared) fail("cp.async: destination is not shared memory, " + text(*m.current));
  if (reinterpret_cast<uintptr_t>(from) % bytes) fail("cp.async: misaligned source, " + text(*m.current));
  check_access(*m.current, to, bytes, Access::write, pc);
  if (valid) check_access(*m.current, from, valid, Access::read, pc);
  memset(to, 0xff, bytes);
  if (checked) std::fill_n(r->written.begin() + (static_cast<char*>(to) - r->base), bytes, 0);
  Copy copy{static_cast<char*>(to), static_cast<const char*>(from), bytes, valid};
  if (options.seed && !checked && random_below(2))
    land(copy, pc);  // the other extreme: at once, over what others still read
  else
    m.current->copies.back().push_back(copy);
}
void copy_commit() {
  Inside guard;
  m.current->copies.emplace_back();
}
void copy_wait(int pending) {
  Inside guard;
  auto& groups = m.current->copies;
  while (int(groups.size()) - 1 > pending) {
    for (Copy& c : groups.front()) land(c, __builtin_return_address(0));
    groups.pop_front();
  }
}
}  // namespace emulator

namespace emulator {
std::string sticky, last;
void run(const Launch& launch, void (*thread)(const void*), const void* context, size_t context_bytes) {
  if (!sticky.empty()) return;
  try {
    run_grid(launch, thread, context, context_bytes);
  } catch (const Error& e) {
    sticky = e.what();
  }
}
}  // namespace emulator
cudaError_t cudaGetLastError() { return emulator::sticky.empty() ? cudaSuccess : cudaErrorLaunchFailure; }
cudaError_t cudaPeekAtLastError() { return cudaGetLastError(); }
const char* cudaGetErrorString(cudaError_t s) {
  return s == cudaErrorLaunchFailure ? emulator::sticky.c_str() : s == cudaSuccess ? "no error" : "error";
}
const char* cudaGetErrorName(cudaError_t s) {
  return s == cudaErrorLaunchFailure ? "cudaErrorLaunchFailure" : "other";
}
cudaError_t cudaDeviceSynchronize() { return cudaGetLastError(); }
cudaError_t cudaDeviceReset() {
  emulator::sticky.clear();
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, size_t n) {
  *p = emulator::allocate(n, 1, "device memory");
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  emulator::release(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t n, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDeviceToHost)
    if (size_t at = emulator::first_unwritten(from, n); at < n) {
      if (emulator::sticky.empty())
        emulator::sticky = "cudaMemcpy: byte " + std::to_string(at) + " was never written";
      return cudaErrorLaunchFailure;
    }
  memcpy(to, from, n);
  if (kind == cudaMemcpyHostToDevice) emulator::set_initialised(to, n);
  return cudaGetLastError();
}
cudaError_t cudaMemset(void* to, int v, size_t n) {
  memset(to, v, n);
  emulator::set_initialised(to, n);
  return cudaGetLastError();
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

// ---- called by the compiler at every load and store of code built with -fsanitize=thread
// ------------------------
using emulator::Access;
#if WITH_ASAN
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}  // fibers abandoned after an error leak
#endif
#define PC __builtin_return_address(0)
#define HOOKS(n)                                                                        \
  void __tsan_read##n(void* p) { emulator::touch(p, n, Access::read, PC); }             \
  void __tsan_write##n(void* p) { emulator::touch(p, n, Access::write, PC); }           \
  void __tsan_unaligned_read##n(void* p) { emulator::touch(p, n, Access::read, PC); }   \
  void __tsan_unaligned_write##n(void* p) { emulator::touch(p, n, Access::write, PC); } \
  void __tsan_volatile_read##n(void* p) { emulator::touch(p, n, Access::read, PC); }    \
  void __tsan_volatile_write##n(void* p) { emulator::touch(p, n, Access::write, PC); }
extern "C" {
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16) void __tsan_read_range(void* p, long n) {
  emulator::touch(p, size_t(n), Access::read, PC);
}
void __tsan_write_range(void* p, long n) { emulator::touch(p, size_t(n), Access::write, PC); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() { emulator::set_checked(); }
}
