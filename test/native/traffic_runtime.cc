// Implements the functions that -fsanitize=thread calls at every load and store of the kernels.
#include "traffic_runtime.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace pixelcnn::test {

namespace {

constexpr uint8_t kNobody = 0xff;
constexpr uintptr_t kWordBytes = 4;

struct Word {
  uint32_t task = 0;  // the last one that touched the word
  uint8_t writer = kNobody;
  uint8_t readers = 0;  // a bit for each other thread that has read what was written last
};
static_assert(kMostThreads == 8 * sizeof(Word::readers));

struct State {
  uintptr_t begin = 0, bytes = 0;
  std::vector<Word> words;
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
void access(const void* at, uintptr_t bytes) {
  const uintptr_t offset = reinterpret_cast<uintptr_t>(at) - state.begin;
  if (offset >= state.bytes || bytes == 0) return;
  const uintptr_t end = std::min(offset + bytes, state.bytes);
  for (uintptr_t index = offset / kWordBytes; index * kWordBytes < end; ++index) {
    Word& word = state.words[index];
    if (word.task != state.task) {
      word.task = state.task;
      state.touched += kWordBytes;
    }
    if constexpr (kWrite) {
      word.writer = state.thread;
      word.readers = 0;
    } else if (word.writer == kNobody) {
      state.traffic.unwritten += kWordBytes;
    } else if (word.writer != state.thread && !(word.readers >> state.thread & 1)) {
      word.readers |= static_cast<uint8_t>(1 << state.thread);
      state.traffic.crossing += kWordBytes;
    }
  }
}

}  // namespace

void begin_traffic(const std::byte* scratch, int64_t bytes) {
  state = State();
  state.begin = reinterpret_cast<uintptr_t>(scratch);
  state.bytes = static_cast<uintptr_t>(bytes);
  state.words.resize((state.bytes + kWordBytes - 1) / kWordBytes);
  state.switch_to(0, false);
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
