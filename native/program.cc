// Decodes programs, prepares them, runs them and traces them.
#include "program.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <type_traits>

#include "decoder.h"
#include "error.h"

namespace pixelcnn {

namespace {

constexpr int64_t kMaxOps = 1 << 16;

// Turns an op's name into that of TypeScript: "MaskedConv2dPack" -> "maskedConv2dPack".
std::string camel_case(std::string name) {
  name[0] = static_cast<char>(name[0] - 'A' + 'a');
  return name;
}

// Counts the NaN and infinite values in an op's floating-point outputs.
class FiniteCheck {
 public:
  explicit FiniteCheck(Backend& backend) : backend_(backend) {}
  int64_t non_finite() const { return non_finite_; }

  void number(const char*, int32_t&, int64_t, int64_t) {}
  template <class Enum>
  void choice(const char*, Enum&, int32_t) {}
  void precision(const char*, Precision&) {}
  void require(bool, const char*) {}
  template <class Body>
  void each(const char*, int32_t count, const Body& body) {
    for (int32_t i = 0; i < count; ++i) body(i);
  }
  template <class T>
  void input(const char*, T*&, int64_t) {}
  template <class T>
  void optional_input(const char*, T*&, int64_t) {}
  template <class T>
  void activation_input(const char*, T*&, int64_t, Precision) {}
  template <class T>
  void optional_activation_input(const char*, T*&, int64_t, Precision) {}
  template <class T>
  void packed_input(const char*, T*&, const FilterShape&, Direction) {}
  template <class T>
  void optional_packed_input(const char*, T*&, const FilterShape&, Direction) {}
  void packed_output(const char*, void*&, const FilterShape&, Direction) {}
  template <class T>
  void in_out(const char* name, T*& tensor, int64_t count) {
    output(name, tensor, count);
  }
  template <class T>
  void optional_output(const char* name, T*& tensor, int64_t count) {
    if (tensor != nullptr) output(name, tensor, count);
  }
  template <class T>
  void output(const char*, T*& tensor, int64_t count) {
    // All exponent bits are set in infinite values and NaN only.
    if constexpr (std::is_same_v<T, float>) scan<uint32_t>(tensor, count, 0x7f800000);
    if constexpr (std::is_same_v<T, double>) scan<uint64_t>(tensor, count, 0x7ff0000000000000);
  }
  void activation_output(const char*, void*& tensor, int64_t count, Precision precision) {
    if (precision == Precision::kBf16) return scan<uint16_t>(tensor, count, 0x7f80);
    if (precision == Precision::kF16) return scan<uint16_t>(tensor, count, 0x7c00);
    scan<uint32_t>(tensor, count, 0x7f800000);
  }
  void optional_activation_output(const char* name, void*& tensor, int64_t count, Precision precision) {
    if (tensor != nullptr) activation_output(name, tensor, count, precision);
  }
  void activation_in_out(const char* name, void*& tensor, int64_t count, Precision precision) {
    activation_output(name, tensor, count, precision);
  }

 private:
  template <class Bits>
  void scan(const void* tensor, int64_t count, Bits exponent) {
    constexpr int64_t kChunk = 1 << 16;
    std::vector<Bits> values(static_cast<size_t>(std::min(count, kChunk)));
    for (int64_t start = 0; start < count; start += kChunk) {
      const int64_t part = std::min(kChunk, count - start);
      backend_.read(values.data(), static_cast<const Bits*>(tensor) + start,
                    part * static_cast<int64_t>(sizeof(Bits)));
      backend_.wait(backend_.fence());
      for (int64_t i = 0; i < part; ++i)
        non_finite_ += (values[static_cast<size_t>(i)] & exponent) == exponent;
    }
  }

  Backend& backend_;
  int64_t non_finite_ = 0;
};

// Whether the backend chooses among several algorithms for this op.
template <class Op>
constexpr bool has_choice(const Op&) {
  return false;
}
bool is_not_direct(const MaskedConv2dShape& shape) { return shape.algorithm != Algorithm::kDirect; }
bool has_choice(const MaskedConv2d& op) { return is_not_direct(op.shape); }
bool has_choice(const MaskedConv2dBackwardInput& op) { return is_not_direct(op.shape); }
bool has_choice(const MaskedConv2dBackwardWeight& op) { return is_not_direct(op.shape); }

}  // namespace

const std::vector<std::string>& op_names() {
  // Never destroyed, because worker threads may outlive static destructors.
  static const auto& names = *new std::vector<std::string>{
#define PIXELCNN_X(Op) camel_case(#Op),
      PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
  };
  return names;
}

FilterShape decode_filter(std::span<const int32_t> wire) {
  const std::string where = "filter";
  Decoder decoder(wire, {}, where);
  FilterShape shape{};
  shape.describe(decoder);
  decoder.finish();
  return shape;
}

Program::Program(std::span<const int32_t> commands, std::vector<std::shared_ptr<Arena>> arenas,
                 std::span<const int32_t> inputs, std::span<const int32_t> outputs)
    : arenas_(std::move(arenas)) {
  PIXELCNN_CHECK(!arenas_.empty(), "ERR_PROGRAM", "a program needs at least one arena");
  backend_ = arenas_[0]->backend();
  for (const auto& arena : arenas_) {
    PIXELCNN_CHECK(arena->backend() == backend_, "ERR_WRONG_DEVICE",
                   "the arenas of a program are of different devices");
  }
  size_t position = 0;
  while (position < commands.size()) {
    const std::string index = "op " + text(static_cast<int64_t>(ops_.size()));
    PIXELCNN_CHECK(static_cast<int64_t>(ops_.size()) < kMaxOps, "ERR_PROGRAM", index + ": too many ops");
    PIXELCNN_CHECK(commands.size() - position >= 2, "ERR_PROGRAM", index + ": the buffer ends in its header");
    const int32_t id = commands[position];
    const int64_t length = commands[position + 1];
    position += 2;
    PIXELCNN_CHECK(length >= 0 && length <= static_cast<int64_t>(commands.size() - position), "ERR_PROGRAM",
                   index + ": length " + text(length) + " exceeds the buffer");
    PIXELCNN_CHECK(id >= 0 && id < static_cast<int32_t>(op_names().size()), "ERR_PROGRAM",
                   index + ": unknown op id " + text(id));
    const std::string where = index + " (" + op_names()[static_cast<size_t>(id)] + ")";
    Decoder decoder(commands.subspan(position, static_cast<size_t>(length)), arenas_, where);
    int32_t candidate = 0;
#define PIXELCNN_X(Op)     \
  if (id == candidate++) { \
    Op op{};               \
    op.describe(decoder);  \
    ops_.emplace_back(op); \
  }
    PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
    decoder.finish();
    position += static_cast<size_t>(length);
  }
  for_each_op([this](const auto& op) { convolutions_ += has_choice(op) ? 1 : 0; });
  inputs_ = ranges(inputs, "input");
  outputs_ = ranges(outputs, "output");
}

std::vector<ArenaRange> Program::ranges(std::span<const int32_t> wire, const char* what) const {
  PIXELCNN_CHECK(wire.size() % 3 == 0, "ERR_PROGRAM",
                 std::string(what) + "s are triples (arena, block, bytes), got " +
                     text(static_cast<int64_t>(wire.size())) + " integers");
  std::vector<ArenaRange> result;
  for (size_t i = 0; i < wire.size(); i += 3) {
    const int64_t offset = int64_t{wire[i + 1]} * kBlockBytes;
    const int64_t bytes = wire[i + 2];
    PIXELCNN_CHECK(wire[i] >= 0 && wire[i] < static_cast<int64_t>(arenas_.size()) && offset >= 0 &&
                       bytes >= 0 && offset + bytes <= arenas_[static_cast<size_t>(wire[i])]->bytes(),
                   "ERR_PROGRAM",
                   std::string(what) + " " + text(static_cast<int64_t>(i / 3)) +
                       " lies outside its arena: arena " + text(wire[i]) + ", offset " + text(offset) + ", " +
                       text(bytes) + " bytes");
    result.push_back({arenas_[static_cast<size_t>(wire[i])]->data() + offset, bytes});
  }
  return result;
}

template <class Body>
void Program::for_each_op(const Body& body) {
  size_t index = 0;
  for (Op& op : ops_) {
    try {
      std::visit(
          [&](auto& known) {
            if constexpr (!std::is_same_v<std::decay_t<decltype(known)>, std::monostate>) body(known);
          },
          op);
    } catch (const Error& error) {
      const std::string& name = op_names()[op.index() - 1];
      throw Error(error.code(),
                  "op " + text(static_cast<int64_t>(index)) + " (" + name + "): " + error.what(),
                  error.remedy());
    }
    ++index;
  }
}

void Program::prepare() {
  if (!prepared_) {
    chosen_ = 0;
    preparing_ = true;
    try {
      for_each_op([this](const auto& op) {
        workspace_bytes_ = std::max(workspace_bytes_.load(), backend_->workspace(op));
        if (has_choice(op)) ++chosen_;
      });
    } catch (...) {
      preparing_ = false;
      throw;
    }
    preparing_ = false;
    prepared_ = true;
  }
  backend_->reserve_workspace(workspace_bytes_);
}

void Program::run() {
  if (backend_->replay(replay_)) return;
  if (!run_recorded()) run_op_by_op();
}

void Program::run_op_by_op() {
  for_each_op([this](const auto& op) { backend_->run(op); });
}

bool Program::run_recorded() {
  backend_->begin_recording(replay_);
  try {
    run_op_by_op();
  } catch (const std::exception& error) {
    if (backend_->cancel_recording(replay_, error.what())) throw;
    return false;
  }
  return backend_->end_recording(replay_);
}

ProgramTrace Program::trace() {
  ProgramTrace result;
  for_each_op([&](auto& op) {
    backend_->wait(backend_->fence());
    const auto start = std::chrono::steady_clock::now();
    backend_->run(op);
    backend_->wait(backend_->fence());
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    FiniteCheck check(*backend_);
    op.describe(check);
    result.ops.push_back({time.count(), static_cast<double>(check.non_finite())});
  });
  result.op_by_op = backend_->refusal(replay_);
  return result;
}

}  // namespace pixelcnn
