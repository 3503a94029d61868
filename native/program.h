// Defines a program: a list of ops that is decoded from a command buffer once, checked against its arenas,
// and then run many times.
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

// Offsets in a command buffer count blocks of this many bytes. Blocks are aligned for every kernel, and 32
// bits then address 512 GiB.
inline constexpr int64_t kBlockBytes = 256;

// A part of an arena that a run fills before its first op, or returns after its last one.
struct ArenaRange {
  std::byte* data;
  int64_t bytes;
};

struct OpTrace {
  double milliseconds;
  double non_finite;  // values in the op's float outputs that are NaN or infinite
};

struct ProgramTrace {
  std::vector<OpTrace> ops;
  std::string op_by_op;  // why the program cannot be recorded and run as a whole; empty if it can
};

// The progress of preparing a program for its first run. 0 of 0 at other times.
struct Choices {
  int32_t made;  // convolutions whose algorithm is chosen
  int32_t of;    // convolutions whose algorithm the backend chooses
};

// Decodes and checks the integers of a filter's shape. Throws ERR_PROGRAM.
FilterShape decode_filter(std::span<const int32_t> wire);

// Returns the names of the ops; an op's id is its index.
const std::vector<std::string>& op_names();

class Program {
 public:
  // `commands` holds for each op its id, the number of integers that follow, its numbers, and (arena,
  // block) for each tensor, with arena -1 for an absent one. `inputs` and `outputs` hold (arena, block,
  // bytes) for each range. Throws ERR_PROGRAM naming the op and the field.
  Program(std::span<const int32_t> commands, std::vector<std::shared_ptr<Arena>> arenas,
          std::span<const int32_t> inputs, std::span<const int32_t> outputs);

  const std::vector<ArenaRange>& inputs() const { return inputs_; }
  const std::vector<ArenaRange>& outputs() const { return outputs_; }
  const std::shared_ptr<Backend>& backend() const { return backend_; }

  // Any thread may call this.
  Choices choices() const { return preparing_ ? Choices{chosen_, convolutions_} : Choices{0, 0}; }

  // The scratch memory that the largest op needs, in bytes; 0 before the first run. Any thread may call this.
  int64_t workspace_bytes() const { return workspace_bytes_; }

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
  std::vector<ArenaRange> ranges(std::span<const int32_t> wire, const char* what) const;
  // Calls body(op) for every op; errors that it throws then name the op.
  template <class Body>
  void for_each_op(const Body& body);
  void run_op_by_op();
  bool run_recorded();  // returns false if nothing has run

  std::shared_ptr<Backend> backend_;
  std::vector<std::shared_ptr<Arena>> arenas_;
  std::vector<Op> ops_;
  std::vector<ArenaRange> inputs_;
  std::vector<ArenaRange> outputs_;
  std::atomic<int64_t> workspace_bytes_ = 0;
  int32_t convolutions_ = 0;
  std::atomic<int32_t> chosen_ = 0;
  std::atomic<bool> preparing_ = false;
  bool prepared_ = false;
  std::unique_ptr<Replay> replay_;
};

}  // namespace pixelcnn
