// One thread per device that runs jobs first in, first out. Knows nothing of Node: whoever submits a job
// collects it.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "error.h"

namespace pixelcnn {

class Job {
 public:
  virtual ~Job() = default;
  // On the executor thread; all may throw. A job whose run leaves work in flight is finished later, after
  // the next job has been run: at most two are on the device.
  virtual void run(const std::atomic<bool>& stopping) = 0;
  virtual bool in_flight() const { return false; }
  // Whether `finish` would return without waiting. Asked again and again while no other job is there to run.
  virtual bool reached() { return true; }
  virtual void finish() {}
  std::optional<Error> error;  // what they threw
};

class Executor {
 public:
  // `completed` is called on the executor thread whenever a job is ready to be collected. Throws ERR_THREADS.
  explicit Executor(std::function<void()> completed);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Throws ERR_DISPOSED after close, ERR_QUEUE_FULL when too many jobs wait.
  void submit(std::unique_ptr<Job> job);

  // Refuses what is queued with ERR_DISPOSED, runs `last` after the job in progress, then ends the thread.
  void close(std::unique_ptr<Job> last);

  // Jobs that have run, in order.
  std::vector<std::unique_ptr<Job>> collect();

  // Ends the thread after the job in progress; queued jobs are dropped. Idempotent.
  void stop();

 private:
  void loop();
  std::unique_ptr<Job> next(Job* flying, bool& closing);
  void complete(std::unique_ptr<Job> job);

  std::function<void()> completed_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  std::vector<std::unique_ptr<Job>> done_;
  bool closed_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace pixelcnn
