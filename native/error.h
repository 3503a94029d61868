// The one error type of the native code: a stable code for programs and a sentence for people.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

namespace pixelcnn {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// Throws Error(code, message) unless the condition holds. The message is only built on failure.
#define PIXELCNN_CHECK(condition, code, message)              \
  do {                                                        \
    if (!(condition)) throw ::pixelcnn::Error(code, message); \
  } while (0)

}  // namespace pixelcnn
