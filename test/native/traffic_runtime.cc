// Implements the functions that -fsanitize=thread calls at every load and store of the kernels.
#include "traffic_runtime.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

namespace pixelcnn::test {

namespace {

constexpr uint8_t kNobody = 0xff;
// An element of an output, or 4 bytes of scratch memory.
struct Word {
  uint32_t task = 0;  // the last one that touched it
  uint8_t writer = kNobody;
  uint8_t readers = 0;  // a bit for each other thread that has read what was written last
};
static_assert(kMostThreads == 8 * sizeof(Word::readers));

struct Memory {
  uintptr_t begin, bytes;
  int word_bits;  // the logarithm of a word's bytes
  bool is_scratch;
  std::vector<Word> words;

  Memory(const void* data, int64_t size, int64_t word_bytes, bool scratch)
      : begin(reinterpret_cast<uintptr_t>(data)),
        bytes(static_cast<uintptr_t>(size)),
        word_bits(std::countr_zero(static_cast<uint64_t>(word_bytes))),
        is_scratch(scratch),
        words((bytes + static_cast<uintptr_t>(word_bytes) - 1) >> word_bits) {}
};

struct State {
  std::vector<Memory> memories;
  Traffic traffic;
  int64_t loops = 0, touched = 0;
  uint32_t task = 0;
  uint8_t thread = 0;
  bool in_loop = false;

  // Every task has a number above 0, and so has the work between two loops.
  void switch_to(int next_thread, bool next_in_loop) {
    if (in_loop) traffic.largest_task = std::max(traffic.largest_task, touched);
    thread = static_cast<uint8_t>(next_thread);
    in_loop = next_in_loop;
    touched = 0;
    ++task;
  }
};
State state;

template <bool kWrite>
void access_word(Word& word, int64_t bytes, bool is_scratch) {
  Traffic& traffic = state.traffic;
  if (is_scratch && word.task != state.task) state.touched += bytes;
  word.task = state.task;
  if constexpr (kWrite) {
    word.writer = state.thread;
    word.readers = 0;
  } else if (word.writer == kNobody) {
    if (is_scratch) traffic.unwritten += bytes;
  } else if (word.writer != state.thread && !(word.readers >> state.thread & 1)) {
    word.readers |= static_cast<uint8_t>(1 << state.thread);
    (is_scratch ? traffic.crossing : traffic.of_outputs) += bytes;
  }
}

template <bool kWrite>
void access(const void* at, uintptr_t bytes) {
  for (Memory& memory : state.memories) {
    const uintptr_t offset = reinterpret_cast<uintptr_t>(at) - memory.begin;
    if (offset >= memory.bytes || bytes == 0) continue;
    const uintptr_t last = std::min(offset + bytes, memory.bytes) - 1;
    for (uintptr_t index = offset >> memory.word_bits; index <= last >> memory.word_bits; ++index)
      access_word<kWrite>(memory.words[index], int64_t{1} << memory.word_bits, memory.is_scratch);
    return;
  }
}

}  // namespace

void begin_traffic(const std::byte* scratch, int64_t bytes) {
  state = State();
  state.memories.emplace_back(scratch, bytes, 4, true);
  state.switch_to(0, false);
}

void follow_output(const void* begin, int64_t count, int64_t element_bytes) {
  state.memories.emplace_back(begin, count * element_bytes, element_bytes, false);
}

Traffic end_traffic() {
  const Traffic result = state.traffic;
  state = State();
  return result;
}

int64_t begin_loop() {
  state.traffic.between = state.traffic.crossing;
  return state.loops++;
}
void begin_task(int thread) { state.switch_to(thread, true); }
void end_loop() { state.switch_to(0, false); }

int simulated_thread(int64_t loop, int64_t task, int threads) {
  // SplitMix64 scatters the tasks, so that no fixed distance between two tasks keeps them on one thread.
  uint64_t bits = (static_cast<uint64_t>(loop) << 32 | static_cast<uint64_t>(task)) + 0x9e3779b97f4a7c15u;
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
  return static_cast<int>((bits ^ bits >> 31) % static_cast<uint64_t>(threads));
}

}  // namespace pixelcnn::test

using pixelcnn::test::access;

extern "C" {

void* traffic_memset(void* to, int value, size_t bytes) {
  access<true>(to, bytes);
  return std::memset(to, value, bytes);
}
void* traffic_memcpy(void* to, const void* from, size_t bytes) {
  access<false>(from, bytes);
  access<true>(to, bytes);
  return std::memcpy(to, from, bytes);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* at, size_t bytes) { access<false>(at, bytes); }
void __tsan_write_range(void* at, size_t bytes) { access<true>(at, bytes); }

#define PIXELCNN_ACCESSES(bytes)                                            \
  void __tsan_read##bytes(void* at) { access<false>(at, bytes); }           \
  void __tsan_write##bytes(void* at) { access<true>(at, bytes); }           \
  void __tsan_unaligned_read##bytes(void* at) { access<false>(at, bytes); } \
  void __tsan_unaligned_write##bytes(void* at) { access<true>(at, bytes); }
PIXELCNN_ACCESSES(1)
PIXELCNN_ACCESSES(2)
PIXELCNN_ACCESSES(4)
PIXELCNN_ACCESSES(8)
PIXELCNN_ACCESSES(16)
#undef PIXELCNN_ACCESSES
}
