// Implements the pool of threads by simulation: all tasks run one after the other on the calling thread, and
// each counts as the work of one simulated thread.
#include "../../native/cpu/thread_pool.h"
#include "traffic_runtime.h"

namespace pixelcnn::cpu {

// The threads are only counted. A std::thread without a function starts none.
ThreadPool::ThreadPool(int threads) : workers_(static_cast<size_t>(threads - 1)) {}
ThreadPool::~ThreadPool() = default;

void ThreadPool::run_erased(int64_t tasks, const void* object, Function function) {
  const int64_t loop = test::begin_loop();
  for (int64_t task = 0; task < tasks; ++task) {
    // The real pool keeps a single task on the calling thread.
    const int thread = tasks == 1 ? 0 : test::simulated_thread(loop, task, threads());
    test::begin_task(thread);
    function(object, task, thread);
  }
  test::end_loop();
}

}  // namespace pixelcnn::cpu
