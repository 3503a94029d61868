// A program: a list of ops decoded once from a command buffer, checked against the arenas it names, then run.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "backend.h"

namespace pixelcnn {

// Offsets in a command buffer count blocks of this many bytes: aligned for any kernel, and 32 bits reach 512
// GiB.
inline constexpr int64_t kBlockBytes = 256;

// A region of an arena that a run fills before its first op, or returns after its last.
struct Region {
  std::byte* data;
  int64_t bytes;
};

struct OpTrace {
  double milliseconds;
  double non_finite;  // values in the op's float outputs that are NaN or infinite
};

struct ProgramTrace {
  std::vector<OpTrace> ops;
  std::string op_by_op;  // why the program cannot be recorded and run as a whole; empty where it can
};

// While a program is prepared for its first run: convolutions for which the backend has chosen a way to
// compute, of how many. At other times 0 of 0.
struct Choices {
  int32_t made;
  int32_t of;
};

// The nine integers of a masked convolution's shape, checked. Throws ERR_PROGRAM.
MaskedConv2dShape decode_shape(std::span<const int32_t> wire);

// Names of the ops; an op's id is its index.
const std::vector<std::string>& op_names();

class Program {
 public:
  // commands: per op its id, the number of integers that follow, its numbers, then (arena, block) per tensor,
  // arena -1 for an absent one. regions: (arena, block, bytes) each. Throws ERR_PROGRAM, naming the op and
  // the field.
  Program(std::span<const int32_t> commands, std::vector<std::shared_ptr<Arena>> arenas,
          std::span<const int32_t> inputs, std::span<const int32_t> outputs);

  const std::vector<Region>& inputs() const { return inputs_; }
  const std::vector<Region>& outputs() const { return outputs_; }
  const std::shared_ptr<Backend>& backend() const { return backend_; }

  // Any thread.
  Choices choices() const { return preparing_ ? Choices{chosen_, convolutions_} : Choices{0, 0}; }

  // The following are called on the executor thread.
  void prepare();
  void run();
  ProgramTrace trace();

 private:
  using Op = std::variant<std::monostate
#define PIXELCNN_X(Op) , Op
                              PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
                          >;
  std::vector<Region> regions(std::span<const int32_t> wire, const char* what) const;
  // Calls body(op) for every op; what it throws then names the op.
  template <class Body>
  void for_each_op(const Body& body);
  void run_op_by_op();
  bool run_recorded();  // false if nothing has run

  std::shared_ptr<Backend> backend_;
  std::vector<std::shared_ptr<Arena>> arenas_;
  std::vector<Op> ops_;
  std::vector<Region> inputs_;
  std::vector<Region> outputs_;
  int64_t workspace_bytes_ = 0;
  int32_t convolutions_ = 0;
  std::atomic<int32_t> chosen_ = 0;
  std::atomic<bool> preparing_ = false;
  bool prepared_ = false;
  std::unique_ptr<Replay> replay_;
};

}  // namespace pixelcnn
