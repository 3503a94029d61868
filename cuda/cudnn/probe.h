// Runs code that may end its process in a forked child, and tells how it went.
#pragma once
#include <functional>
#include <string>

namespace pixelcnn::cuda {

struct ChildResult {
  bool ended;          // by itself: neither a signal nor the time limit ended it
  bool timed_out;      // the time limit ended it
  std::string answer;  // what `work` returned
  std::string error;   // what it wrote to standard error; how it ended, if not by itself
};

// Calls `work` in a child and returns what it returned; an abort or a crash there stays there.
//
// Forking a process with threads leaves the child only the calling thread and every lock as it was. The child
// allocates, opens libraries and calls cuDNN, for which glibc repairs its allocator's and loader's locks;
// locks of a library that another thread was inside of stay locked. So a child that crashes is tried once
// more. One that hangs is not: whatever it waits for, the next one would wait for it as long. The driver does
// not work in the child of a process that has initialised CUDA, so this must not be called after that.
// Spawning a program instead would avoid all this, but asks for an executable file beside the shared library
// wherever the package goes.
ChildResult run_in_child(const std::function<std::string()>& work, int seconds);

}  // namespace pixelcnn::cuda
