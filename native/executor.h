// Runs jobs on one thread per device, first in, first out. It does not depend on Node: the thread that
// submits jobs also collects them.
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
  // These run on the executor thread, and all may throw. A job that leaves work in flight is finished
  // after the next job has run, so at most two jobs are on the device.
  virtual void run(const std::atomic<bool>& stopping) = 0;
  virtual bool in_flight() const { return false; }
  // Whether `finish` would return without waiting. It is polled while no other job is waiting to run.
  virtual bool reached() { return true; }
  virtual void finish() {}
  std::optional<Error> error;  // the exception that one of them threw
};

class Executor {
 public:
  // `completed` is called on the executor thread whenever a job can be collected. Throws ERR_THREADS.
  explicit Executor(std::function<void()> completed);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Throws ERR_DISPOSED after close(), and ERR_QUEUE_FULL if too many jobs wait.
  void submit(std::unique_ptr<Job> job);

  // Fails the queued jobs with ERR_DISPOSED, runs `last` after the running job, and then ends the thread.
  void close(std::unique_ptr<Job> last);

  // Returns the jobs that have finished, in order.
  std::vector<std::unique_ptr<Job>> collect();

  // Ends the thread after the running job and drops queued jobs. May be called more than once.
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
