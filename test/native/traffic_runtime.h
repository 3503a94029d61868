// Records which simulated thread wrote each word of an op's scratch memory, and counts the bytes that other
// threads read.
//
// Kernels that are compiled with -fsanitize=thread call a function at every load and store.
// traffic_runtime.cc implements these functions in place of the thread sanitizer's library. The pool of
// traffic_thread_pool.cc runs all tasks on one real thread and says which thread each task stands for.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pixelcnn::test {

inline constexpr int kMostThreads = 8;

// Counts are in bytes. What one thread wrote counts once for each other thread that reads it, because it then
// stays in that thread's cache until it is written again.
struct Traffic {
  int64_t crossing = 0;      // of scratch memory: read by another thread than the one that wrote it
  int64_t between = 0;       // the part of `crossing` that was read before the last loop of tasks began
  int64_t of_outputs = 0;    // of the op's outputs: read by another thread than the one that wrote it
  int64_t unwritten = 0;     // of scratch memory: read although nothing had written it
  int64_t largest_task = 0;  // the most scratch memory that one task touched
};

// Starts to count. Nothing has written the scratch memory yet, which is followed in words of 4 bytes. An op
// could misuse its outputs as scratch memory, so they are followed too, in elements.
void begin_traffic(const std::byte* scratch, int64_t bytes);
void follow_output(const void* begin, int64_t count, int64_t element_bytes);
Traffic end_traffic();

// The pool calls these. Outside of loops all work counts as that of thread 0, as in the real pool.
int64_t begin_loop();  // returns the number of loops before
void begin_task(int thread);
void end_loop();

// Returns the simulated thread of a task. It differs from loop to loop, because a real pool may hand any
// task to any thread.
int simulated_thread(int64_t loop, int64_t task, int threads);

}  // namespace pixelcnn::test
