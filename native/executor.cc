// Runs the jobs of one device, and ends in one of two ways: close() finishes in order, stop() drops what
// is queued.
#include "executor.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <utility>

namespace pixelcnn {

namespace {
constexpr size_t kMaxQueued = 1024;
}

Executor::Executor(std::function<void()> completed) : completed_(std::move(completed)) {
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& error) {
    throw Error("ERR_THREADS", std::string("could not start the device's thread: ") + error.what());
  }
}

Executor::~Executor() { stop(); }

void Executor::submit(std::unique_ptr<Job> job) {
  {
    std::lock_guard lock(mutex_);
    PIXELCNN_CHECK(!closed_, "ERR_DISPOSED", "the device has been disposed");
    PIXELCNN_CHECK(queue_.size() < kMaxQueued, "ERR_QUEUE_FULL",
                   std::to_string(kMaxQueued) + " jobs are waiting for the device already");
    queue_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Executor::close(std::unique_ptr<Job> last) {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    stopping_ = true;
    for (auto& job : queue_) {
      job->error = Error("ERR_DISPOSED", "the device was disposed before this work began");
      done_.push_back(std::move(job));
    }
    queue_.clear();
    queue_.push_back(std::move(last));
  }
  wake_.notify_one();
}

std::vector<std::unique_ptr<Job>> Executor::collect() {
  std::lock_guard lock(mutex_);
  return std::exchange(done_, {});
}

void Executor::stop() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    stopping_ = true;
    queue_.clear();
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

namespace {

// Runs body() and keeps the exception that it throws as the job's error.
template <class Body>
void guarded(Job& job, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    job.error = error;
  } catch (const std::bad_alloc&) {
    job.error = Error("ERR_OUT_OF_MEMORY", "out of memory");
  } catch (const std::exception& error) {
    job.error = Error("ERR_INTERNAL", error.what());
  }
}

// An exception counts as reached: `finish` will throw it again, and there it becomes the job's error.
bool has_reached(Job& job) {
  try {
    return job.reached();
  } catch (const std::exception&) {
    return true;
  }
}

}  // namespace

// Waits for the next job. Returns null if the job in flight has finished, or if the executor is closed.
// While one step is in flight, JavaScript submits another one, which must be enqueued before the device is
// idle. So this thread does not sleep until the job in flight ends: it polls that job from time to time
// and wakes at once for a new one.
std::unique_ptr<Job> Executor::next(Job* flying, bool& closing) {
  using namespace std::chrono_literals;
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto must_wake = [this] { return !queue_.empty() || closed_; };
  std::unique_lock lock(mutex_);
  while (!must_wake()) {
    if (flying == nullptr) {
      wake_.wait(lock, must_wake);
      break;
    }
    lock.unlock();
    const bool reached = has_reached(*flying);
    lock.lock();
    if (reached) break;
    // Polls less often the longer the job takes: a late look then costs little in comparison.
    const auto waited = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
    wake_.wait_for(lock, std::clamp<std::chrono::microseconds>(waited / 64, 50us, 1ms), must_wake);
  }
  closing = closed_;
  if (queue_.empty()) return nullptr;
  std::unique_ptr<Job> job = std::move(queue_.front());
  queue_.pop_front();
  return job;
}

void Executor::loop() {
  std::unique_ptr<Job> flying;  // has run, but the work that it enqueued may not be done
  for (;;) {
    bool closing = false;
    std::unique_ptr<Job> job = next(flying.get(), closing);
    if (job == nullptr && flying == nullptr) return;
    // The last job closes the backend, which the job in flight still needs.
    if (closing && flying != nullptr) complete(std::exchange(flying, nullptr));
    if (job != nullptr) guarded(*job, [&] { job->run(stopping_); });
    if (flying != nullptr) complete(std::exchange(flying, nullptr));
    if (job == nullptr) continue;
    if (job->in_flight() && !job->error) {
      flying = std::move(job);
    } else {
      complete(std::move(job));
    }
  }
}

void Executor::complete(std::unique_ptr<Job> job) {
  if (!job->error) guarded(*job, [&] { job->finish(); });
  {
    std::lock_guard lock(mutex_);
    done_.push_back(std::move(job));
  }
  completed_();
}

}  // namespace pixelcnn
