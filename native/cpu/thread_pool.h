// Runs tasks on the threads of one device. The calling thread takes part. A task's result must not depend on
// the thread that runs it; then results have the same bits for any number of threads.
//
// Each thread has its share of the tasks, a contiguous range, and helps others when it is done. Ops count
// their tasks in the order of the images, so a thread mostly reads activations that it wrote itself, from the
// caches of its core.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace pixelcnn::cpu {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // throws ERR_THREADS
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(task, thread) for every task in [0, tasks). `thread` in [0, threads()) selects the scratch
  // memory to use. The body must not throw.
  template <class Body>
  void run(int64_t tasks, const Body& body) {
    run_erased(tasks, &body, [](const void* object, int64_t task, int thread) {
      (*static_cast<const Body*>(object))(task, thread);
    });
  }

 private:
  using Function = void (*)(const void* object, int64_t task, int thread);
  // The tasks of one thread that are not handed out yet. Each share has a cache line to itself.
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  void run_erased(int64_t tasks, const void* object, Function function);
  void work(int thread);
  void drain(int thread);
  void join();

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // The epoch of the run in the upper half, which every run raises and workers wait for; then kOpen while
  // workers may join the run, and the number of those that have joined and not left. One variable holds them
  // all, so that no worker joins a run that has just ended.
  std::atomic<uint64_t> state_{0};
  std::atomic<int> sleepers_{0};  // workers that wait on wake_ instead of spinning
  std::atomic<bool> stop_{false};
  std::unique_ptr<Share[]> shares_;  // of each thread
  const void* object_ = nullptr;
  Function function_ = nullptr;
};

}  // namespace pixelcnn::cpu
