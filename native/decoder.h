// Reads the fields of one op from a command buffer and checks that every number is in its range and every
// tensor inside its arena.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backend.h"
#include "error.h"
#include "program.h"

namespace pixelcnn {

inline std::string text(int64_t value) { return std::to_string(value); }

// Reads the fields in the order in which the op's `describe` lists them.
class Decoder {
 public:
  Decoder(std::span<const int32_t> wire, std::span<const std::shared_ptr<Arena>> arenas,
          const std::string& where)
      : wire_(wire), arenas_(arenas), where_(where) {}

  void number(const char* name, int32_t& value, int64_t low, int64_t high) {
    value = next(name);
    require_range(name, value, low, high);
  }
  template <class Enum>
  void choice(const char* name, Enum& value, int32_t choices) {
    int32_t raw = 0;
    number(name, raw, 0, choices - 1);
    value = static_cast<Enum>(raw);
  }
  void require(bool condition, const char* message) {
    PIXELCNN_CHECK(condition, "ERR_PROGRAM", where() + message);
  }
  // Calls body(i) for every item of a list. Errors thrown meanwhile name the item.
  template <class Body>
  void each(const char* item, int32_t count, const Body& body) {
    for (int32_t i = 0; i < count; ++i) {
      item_ = std::string(", ") + item + " " + text(i);
      body(i);
    }
    item_.clear();
  }

  template <class T>
  void input(const char* name, T*& tensor, int64_t count) {
    tensor = static_cast<T*>(locate(name, count, sizeof(T), false));
  }
  template <class T>
  void optional_input(const char* name, T*& tensor, int64_t count) {
    tensor = static_cast<T*>(locate(name, count, sizeof(T), true));
  }
  template <class T>
  void output(const char* name, T*& tensor, int64_t count) {
    input(name, tensor, count);
  }
  template <class T>
  void optional_output(const char* name, T*& tensor, int64_t count) {
    optional_input(name, tensor, count);
  }
  template <class T>
  void in_out(const char* name, T*& tensor, int64_t count) {
    input(name, tensor, count);
  }
  void precision(const char* name, Precision& value) {
    choice(name, value, 4);
    // A filter that is decoded alone (decode_filter) has no arena to ask; its caller checks the precision.
    PIXELCNN_CHECK(arenas_.empty() || arenas_[0]->backend()->supports(value), "ERR_PROGRAM",
                   where() + "this device does not compute in precision " + text(static_cast<int>(value)));
  }
  template <class T>
  void activation_input(const char* name, T*& tensor, int64_t count, Precision precision) {
    tensor = locate(name, count, element_bytes(precision), false);
  }
  template <class T>
  void optional_activation_input(const char* name, T*& tensor, int64_t count, Precision precision) {
    tensor = locate(name, count, element_bytes(precision), true);
  }
  void activation_output(const char* name, void*& tensor, int64_t count, Precision precision) {
    activation_input(name, tensor, count, precision);
  }
  void optional_activation_output(const char* name, void*& tensor, int64_t count, Precision precision) {
    optional_activation_input(name, tensor, count, precision);
  }
  void activation_in_out(const char* name, void*& tensor, int64_t count, Precision precision) {
    activation_input(name, tensor, count, precision);
  }
  template <class T>
  void packed_input(const char* name, T*& packed, const FilterShape& shape, Direction direction) {
    packed = locate(name, arenas_[0]->backend()->packed_bytes(shape, direction), 1, false);
  }
  template <class T>
  void optional_packed_input(const char* name, T*& packed, const FilterShape& shape, Direction direction) {
    packed = locate(name, arenas_[0]->backend()->packed_bytes(shape, direction), 1, true);
  }
  void packed_output(const char* name, void*& packed, const FilterShape& shape, Direction direction) {
    packed_input(name, packed, shape, direction);
  }

  void finish() {
    PIXELCNN_CHECK(position_ == wire_.size(), "ERR_PROGRAM",
                   where() + text(static_cast<int64_t>(wire_.size() - position_)) + " integers too many");
  }

 private:
  // The beginning of every error message.
  std::string where() const { return where_ + item_ + ": "; }
  int32_t next(const char* name) {
    PIXELCNN_CHECK(position_ < wire_.size(), "ERR_PROGRAM", where() + "the buffer ends before " + name);
    return wire_[position_++];
  }
  void require_range(const char* name, int64_t value, int64_t low, int64_t high) {
    PIXELCNN_CHECK(
        value >= low && value <= high, "ERR_PROGRAM",
        where() + name + " must be in [" + text(low) + ", " + text(high) + "], got " + text(value));
  }
  void* locate(const char* name, int64_t count, int64_t item_bytes, bool optional) {
    const int32_t arena = next(name);
    const int64_t offset = int64_t{next(name)} * kBlockBytes;
    if (optional && arena == -1) return nullptr;
    require_range(name, arena, 0, static_cast<int64_t>(arenas_.size()) - 1);
    const int64_t available = arenas_[static_cast<size_t>(arena)]->bytes();
    PIXELCNN_CHECK(
        offset >= 0 && count >= 0 && count <= (int64_t{1} << 48) && offset + count * item_bytes <= available,
        "ERR_PROGRAM",
        where() + name + " needs " + text(count) + " x " + text(item_bytes) + " bytes at offset " +
            text(offset) + " of an arena of " + text(available) + " bytes");
    return arenas_[static_cast<size_t>(arena)]->data() + offset;
  }

  std::span<const int32_t> wire_;
  std::span<const std::shared_ptr<Arena>> arenas_;
  const std::string& where_;
  std::string item_;  // names the list item that is being read: ", filter 3"; empty outside lists
  size_t position_ = 0;
};

}  // namespace pixelcnn
