// Defines the one error type of the native code: a stable code for programs, a sentence for people, and a
// remedy if there is one.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

namespace pixelcnn {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message, std::string remedy = "")
      : std::runtime_error(message), code_(std::move(code)), remedy_(std::move(remedy)) {}
  const std::string& code() const { return code_; }
  const std::string& remedy() const { return remedy_; }

 private:
  std::string code_;
  std::string remedy_;
};

// Throws Error(code, message) unless the condition holds. The message is built only on failure.
#define PIXELCNN_CHECK(condition, code, message)              \
  do {                                                        \
    if (!(condition)) throw ::pixelcnn::Error(code, message); \
  } while (0)

}  // namespace pixelcnn
