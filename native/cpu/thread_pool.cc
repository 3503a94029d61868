// Runs the pool's threads. They spin briefly between the many short loops of a training step, and then
// sleep.
#include "thread_pool.h"

#include <string>
#include <system_error>

#include "../error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pixelcnn::cpu {

namespace {
constexpr int kSpins = 4000;
constexpr uint64_t kNextEpoch = uint64_t{1} << 32, kOpen = uint64_t{1} << 31, kJoined = kOpen - 1;

uint32_t epoch_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
}  // namespace

ThreadPool::ThreadPool(int threads) : shares_(std::make_unique<Share[]>(static_cast<size_t>(threads))) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  } catch (const std::system_error& error) {
    // If the constructor throws, threads that already run must be joined, or std::terminate would end the
    // process.
    const std::string started = std::to_string(workers_.size() + 1);
    join();
    throw Error("ERR_THREADS", "could not start " + std::to_string(threads) + " threads, only " + started +
                                   ": " + error.what());
  }
}

ThreadPool::~ThreadPool() { join(); }

void ThreadPool::join() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    state_ += kNextEpoch;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::drain(int thread) {
  for (int i = 0; i < threads(); ++i) {
    Share& share = shares_[(thread + i) % threads()];
    while (share.next.load(std::memory_order_relaxed) < share.end) {
      const int64_t task = share.next.fetch_add(1, std::memory_order_relaxed);
      if (task < share.end) function_(object_, task, thread);
    }
  }
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    for (int spins = 0; epoch_of(state_.load(std::memory_order_acquire)) == seen; ++spins) {
      if (spins < kSpins) {
        relax();
        continue;
      }
      std::unique_lock lock(mutex_);
      ++sleepers_;
      wake_.wait(lock, [&] { return epoch_of(state_.load()) != seen; });
      --sleepers_;
    }
    if (stop_) return;
    uint64_t state = state_.load(std::memory_order_acquire);
    seen = epoch_of(state);
    while (epoch_of(state) == seen && (state & kOpen)) {
      if (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) continue;
      drain(thread);
      state_.fetch_sub(1, std::memory_order_acq_rel);
      break;
    }
  }
}

void ThreadPool::run_erased(int64_t tasks, const void* object, Function function) {
  if (tasks <= 0) return;
  if (workers_.empty() || tasks == 1) {
    for (int64_t task = 0; task < tasks; ++task) function(object, task, 0);
    return;
  }
  object_ = object;
  function_ = function;
  for (int i = 0; i < threads(); ++i) {
    shares_[i].next.store(tasks * i / threads(), std::memory_order_relaxed);
    shares_[i].end = tasks * (i + 1) / threads();
  }
  {
    // Without the lock, a worker could decide to sleep just before the new epoch and miss it.
    std::lock_guard lock(mutex_);
    state_.store((state_.load(std::memory_order_relaxed) + kNextEpoch) | kOpen, std::memory_order_release);
  }
  if (sleepers_.load() > 0) wake_.notify_all();
  drain(0);
  // A worker that the system has not let run yet is not waited for, because all tasks are handed out.
  state_.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kJoined) > 0; ++spins) {
    if (spins < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace pixelcnn::cpu
