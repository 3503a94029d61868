// Fuzzes the program decoder: it runs every program that the decoder accepts, which must stay inside its
// arenas.
// Every tensor that the generator makes has an arena of exactly its size, so that the address sanitizer sees
// the first byte beyond. PIXELCNN_PLANT=1 closes the last bytes of every arena: what a decoder that lets
// tensors end too late would do; it must be found.
#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "../../native/cpu/backend.h"
#include "../../native/error.h"
#include "../../native/program.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using namespace pixelcnn;

constexpr int32_t kMaxArenas = 16;
constexpr int32_t kMaxArenaBytes = 1 << 13;

const std::shared_ptr<Backend>& backend() {
  static const auto& opened = *new std::shared_ptr<Backend>(cpu::open_backend(1, ""));
  return opened;
}

// An input of the fuzzer as 32-bit words: what the arenas are filled with, their number and sizes, the number
// of regions (fed and returned), three words each, and the command buffer.
struct Case {
  int32_t fill = 0;
  std::vector<int32_t> arenas;
  std::vector<int32_t> regions;
  std::vector<int32_t> commands;
};

Case decode(const uint8_t* data, size_t size) {
  std::vector<int32_t> words(size / 4);
  if (!words.empty()) std::memcpy(words.data(), data, words.size() * 4);
  size_t position = 0;
  const auto next = [&] { return position < words.size() ? words[position++] : 0; };
  const auto list = [&](uint32_t length) {
    std::vector<int32_t> items(length);
    std::generate(items.begin(), items.end(), next);
    return items;
  };
  Case result;
  result.fill = next();
  result.arenas = list(1 + static_cast<uint32_t>(next()) % kMaxArenas);
  for (int32_t& bytes : result.arenas) bytes &= kMaxArenaBytes - 1;
  result.regions = list(3 * (static_cast<uint32_t>(next()) % 3));
  result.commands = list(static_cast<uint32_t>(words.size() - position));
  return result;
}

size_t encode(const Case& input, uint8_t* data, size_t max_size) {
  std::vector<int32_t> words = {input.fill, static_cast<int32_t>(input.arenas.size()) - 1};
  words.insert(words.end(), input.arenas.begin(), input.arenas.end());
  words.push_back(static_cast<int32_t>(input.regions.size() / 3));
  words.insert(words.end(), input.regions.begin(), input.regions.end());
  words.insert(words.end(), input.commands.begin(), input.commands.end());
  const size_t bytes = std::min(words.size() * 4, max_size / 4 * 4);
  if (bytes > 0) std::memcpy(data, words.data(), bytes);
  return bytes;
}

// Writes an op as its `describe` would read it: small numbers in their ranges, tensors that fit or nearly
// fit.
class Generator {
 public:
  Generator(Case& target, std::minstd_rand& random) : case_(target), random_(random) {}

  template <class Op>
  void op(int32_t id) {
    // Mostly repeats until the decoder accepts the numbers, because chance seldom meets several requirements.
    const size_t arenas = case_.arenas.size();
    for (int attempts = below(4) ? 200 : 1; attempts > 0; --attempts) {
      words_.clear();
      case_.arenas.resize(arenas);
      Op op{};
      try {
        op.describe(*this);
        break;
      } catch (const Impossible&) {
      }
    }
    case_.commands.insert(case_.commands.end(), {id, static_cast<int32_t>(words_.size())});
    case_.commands.insert(case_.commands.end(), words_.begin(), words_.end());
  }

  void number(const char*, int32_t& value, int64_t low, int64_t high) {
    high = std::max(low, high);
    const int64_t small = std::min(high, low + below(below(2) ? 4 : 12));
    value = static_cast<int32_t>(below(30) ? small : low + below(static_cast<uint32_t>(high - low)));
    words_.push_back(value);
  }
  template <class Enum>
  void choice(const char*, Enum& value, int32_t choices) {
    words_.push_back(static_cast<int32_t>(below(static_cast<uint32_t>(choices))));
    value = static_cast<Enum>(words_.back());
  }
  // Mostly the one that the CPU computes in.
  void precision(const char*, Precision& value) {
    value = static_cast<Precision>(below(20) ? 0 : below(4));
    words_.push_back(static_cast<int32_t>(value));
  }
  // The decoder refuses such an op here, before the sizes that follow are computed: they may not fit 64 bits.
  void require(bool condition, const char*) {
    if (!condition) throw Impossible{};
  }
  template <class Body>
  void each(const char*, int32_t count, const Body& body) {
    for (int32_t i = 0; i < count; ++i) body(i);
  }

  // Every present tensor gets a pointer that is not null, because requirements ask which are present.
  template <class T>
  void input(const char*, T*& pointer, int64_t count) {
    pointer = reinterpret_cast<T*>(present());
    tensor(count * static_cast<int64_t>(sizeof(T)));
  }
  template <class T>
  void output(const char* name, T*& pointer, int64_t count) {
    input(name, pointer, count);
  }
  template <class T>
  void in_out(const char* name, T*& pointer, int64_t count) {
    input(name, pointer, count);
  }
  template <class T>
  void optional_input(const char* name, T*& pointer, int64_t count) {
    below(2) ? input(name, pointer, count) : absent();
  }
  template <class T>
  void optional_output(const char* name, T*& pointer, int64_t count) {
    optional_input(name, pointer, count);
  }
  template <class T>
  void activation_input(const char*, T*& pointer, int64_t count, Precision precision) {
    pointer = present();
    tensor(count * element_bytes(precision));
  }
  template <class T>
  void optional_activation_input(const char* name, T*& pointer, int64_t count, Precision precision) {
    below(2) ? activation_input(name, pointer, count, precision) : absent();
  }
  void activation_output(const char* name, void*& pointer, int64_t count, Precision precision) {
    activation_input(name, pointer, count, precision);
  }
  void optional_activation_output(const char* name, void*& pointer, int64_t count, Precision precision) {
    optional_activation_input(name, pointer, count, precision);
  }
  void activation_in_out(const char* name, void*& pointer, int64_t count, Precision precision) {
    activation_input(name, pointer, count, precision);
  }
  template <class T>
  void packed_input(const char*, T*& pointer, const FilterShape& shape, Direction direction) {
    pointer = present();
    tensor(backend()->packed_bytes(shape, direction));
  }
  template <class T>
  void optional_packed_input(const char* name, T*& pointer, const FilterShape& shape, Direction direction) {
    below(2) ? packed_input(name, pointer, shape, direction) : absent();
  }
  template <class T>
  void packed_output(const char* name, T*& pointer, const FilterShape& shape, Direction direction) {
    packed_input(name, pointer, shape, direction);
  }

 private:
  struct Impossible {};
  uint32_t below(uint32_t bound) { return bound == 0 ? 0 : static_cast<uint32_t>(random_()) % bound; }
  void* present() { return this; }
  void absent() { words_.insert(words_.end(), {-1, 0}); }
  void tensor(int64_t bytes) {
    const int32_t exact = static_cast<int32_t>(std::clamp<int64_t>(bytes, 0, kMaxArenaBytes - 1));
    auto& arenas = case_.arenas;
    if (arenas.size() < kMaxArenas && below(8)) {
      arenas.push_back(std::max(0, exact - (below(20) == 0)));
      words_.insert(words_.end(), {static_cast<int32_t>(arenas.size()) - 1, 0});
    } else {
      const auto arena = below(static_cast<uint32_t>(arenas.size()));
      const auto blocks = static_cast<uint32_t>(arenas[arena] / kBlockBytes + 1);
      words_.insert(words_.end(), {static_cast<int32_t>(arena), static_cast<int32_t>(below(blocks))});
    }
  }

  Case& case_;
  std::minstd_rand& random_;
  std::vector<int32_t> words_;
};

void append_op(Case& target, std::minstd_rand& random) {
  const auto id = static_cast<int32_t>(random() % op_names().size());
  int32_t candidate = 0;
#define PIXELCNN_X(Op) \
  if (id == candidate++) Generator(target, random).op<Op>(id);
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  std::minstd_rand random(seed + 1);
  random.discard(3);
  const auto way = random() % 8;
  if (way == 0) return LLVMFuzzerMutate(data, size, max_size);
  Case input = decode(data, size);
  if (way < 4 || input.commands.empty()) {
    input = Case{static_cast<int32_t>(random()) * (random() % 2 ? 1 : 0), {256}, {}, {}};
    for (auto ops = 1 + random() % 3; ops > 0; --ops) append_op(input, random);
  } else if (way == 4 && input.commands.size() < 200) {
    append_op(input, random);
  } else if (way == 5) {
    int32_t& bytes = input.arenas[random() % input.arenas.size()];
    bytes = std::clamp(bytes + static_cast<int32_t>(random() % 9) - 4, 0, kMaxArenaBytes - 1);
  } else {
    int32_t& word = input.commands[random() % input.commands.size()];
    const auto change = static_cast<uint32_t>(random() % 4 ? random() % 5 - 2 : random() << 1);
    word = static_cast<int32_t>(static_cast<uint32_t>(word) + change);  // may wrap
  }
  return encode(input, data, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool plant = std::getenv("PIXELCNN_PLANT") != nullptr;
  const Case input = decode(data, size);
  std::vector<std::shared_ptr<Arena>> arenas;
  for (const int32_t bytes : input.arenas) {
    arenas.push_back(std::make_shared<Arena>(backend(), bytes));
    auto* words = arenas.back()->data();
    for (int32_t at = 0; at + 4 <= bytes; at += 4) std::memcpy(words + at, &input.fill, 4);
  }
  try {
    Program program(input.commands, arenas, input.regions, input.regions);
    if (plant) {
      for (const auto& arena : arenas) {
        if (arena->bytes() >= 8) ASAN_POISON_MEMORY_REGION(arena->data() + arena->bytes() - 4, 4);
      }
    }
    program.prepare();
    program.run();
  } catch (const Error&) {
  }
  return 0;
}
