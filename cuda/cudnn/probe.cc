// Runs code that may crash in a forked child process, and reports how it ended.
#include "probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <system_error>

namespace pixelcnn::cuda {
namespace {

constexpr char kEndOfAnswer = '\0';  // a child that was interrupted has not written it

class Pipe {
 public:
  Pipe() { open_ = pipe2(ends_, O_CLOEXEC) == 0; }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  bool open() const { return open_; }
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void close_end(int end) {
    if (open_ && ends_[end] >= 0) close(ends_[end]);
    ends_[end] = -1;
  }

 private:
  int ends_[2] = {-1, -1};
  bool open_;
};

void write_all(int file, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(file, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    data += written;
    size -= written;
  }
}

// Never returns and runs no code of the parent: no exit handlers, no signal handlers, no core file.
[[noreturn]] void child(const std::function<std::string()>& work, int answer, int error) {
  prctl(PR_SET_DUMPABLE, 0);
  dup2(error, STDERR_FILENO);
  for (const int signal_number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(signal_number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  try {
    const std::string text = work();
    write_all(answer, text.c_str(), text.size());
    write_all(answer, &kEndOfAnswer, 1);
  } catch (const std::exception& e) {
    write_all(error, e.what(), std::strlen(e.what()));
  }
  _exit(0);
}

// Appends the bytes that are in the pipe; returns false at its end.
bool read_some(int file, std::string& text) {
  char buffer[4096];
  const ssize_t count = read(file, buffer, sizeof buffer);
  if (count < 0) return errno == EINTR;
  text.append(buffer, count);
  return count > 0;
}

// Reads both pipes to their ends; returns false if the time ran out.
bool read_both(int answer, int error, int seconds, ChildResult& result) {
  using Clock = std::chrono::steady_clock;
  const auto limit = Clock::now() + std::chrono::seconds(seconds);
  pollfd files[] = {{answer, POLLIN, 0}, {error, POLLIN, 0}};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(limit - Clock::now()).count();
    if (left <= 0) return false;
    if (poll(files, 2, static_cast<int>(left)) < 0 && errno != EINTR) return false;
    for (int i = 0; i < 2; ++i) {
      if (files[i].fd >= 0 && files[i].revents != 0 &&
          !read_some(files[i].fd, i == 0 ? result.answer : result.error)) {
        files[i].fd = -1;
      }
    }
  }
  return true;
}

ChildResult run_once(const std::function<std::string()>& work, int seconds) {
  Pipe answer, error;
  if (!answer.open() || !error.open()) return {false, false, "", std::generic_category().message(errno)};
  const pid_t pid = fork();
  if (pid < 0) return {false, false, "", std::generic_category().message(errno)};
  if (pid == 0) child(work, answer.writer(), error.writer());
  answer.close_end(1);
  error.close_end(1);

  ChildResult result{false, false, "", ""};
  const bool in_time = read_both(answer.reader(), error.reader(), seconds, result);
  if (!in_time) kill(pid, SIGKILL);
  int status = 0;
  pid_t waited;
  do {
    waited = waitpid(pid, &status, 0);
  } while (waited < 0 && errno == EINTR);
  while (!result.error.empty() && result.error.back() == '\n') result.error.pop_back();
  result.ended = !result.answer.empty() && result.answer.back() == kEndOfAnswer;
  if (result.ended) {
    result.answer.pop_back();
    return result;
  }
  result.answer.clear();
  result.timed_out = !in_time;
  const char* how =
      !in_time ? "no answer in time"
      : waited == pid && WIFSIGNALED(status)
          ? strsignal(WTERMSIG(status))  // NOLINT(concurrency-mt-unsafe): glibc keeps it per thread
          : "no answer";
  if (!result.error.empty()) result.error += ' ';
  result.error.append("(").append(how).append(")");
  return result;
}

}  // namespace

ChildResult run_in_child(const std::function<std::string()>& work, int seconds) {
  const ChildResult first = run_once(work, seconds);
  return first.ended || first.timed_out ? first : run_once(work, seconds);
}

}  // namespace pixelcnn::cuda
