// Runs code that may crash in a forked child process, and reports how it ended.
#pragma once
#include <functional>
#include <string>

namespace pixelcnn::cuda {

struct ChildResult {
  bool ended;          // normally: neither by a signal nor by the time limit
  bool timed_out;      // ended by the time limit
  std::string answer;  // what `work` returned
  std::string error;   // what it wrote to standard error, and how it ended if not normally
};

// Calls `work` in a child process and returns its result. If `work` aborts or crashes, only the child
// ends.
//
// A child that is forked from a process with threads has only the calling thread, and every lock stays as
// it was. The child allocates, opens libraries and calls cuDNN. glibc repairs the locks of its own
// allocator and loader, but a lock that another thread held inside another library stays locked. A child
// that crashes is therefore tried once more. One that hangs is not tried again, because the next child
// would wait for the same thing. The driver does not work in the child of a process that has initialised
// CUDA, so this must not be called after that. Starting a program instead would avoid all this, but the
// package would need an executable file beside the shared library.
ChildResult run_in_child(const std::function<std::string()>& work, int seconds);

}  // namespace pixelcnn::cuda
