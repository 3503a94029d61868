// Counts the checks of the cuDNN test programs, prints those that fail, and prints the last line.
#pragma once
#include <cstdio>
#include <string>

namespace pixelcnn::test {

class Checks {
 public:
  bool operator()(bool ok, const std::string& what) {
    ++(ok ? passed_ : failed_);
    if (!ok) std::printf("FAILED %s\n", what.c_str());
    return ok;
  }
  // Prints the count; the exit code of the program.
  int finish() const {
    std::printf("%d passed, %d failed\n", passed_, failed_);
    return failed_ == 0 ? 0 : 1;
  }

 private:
  int passed_ = 0, failed_ = 0;
};

}  // namespace pixelcnn::test
