// Lists the fields of every op by calling its `describe` with a visitor that notes names and kinds.
#include "op_listing.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "program.h"

namespace pixelcnn {

namespace {

// Visits an op whose fields have no values yet, and therefore ignores ranges, counts and requirements.
class FieldLister {
 public:
  std::vector<OpField> take() { return std::move(fields_); }

  void number(const char* name, int32_t&, int64_t, int64_t) { add_number(name); }
  template <class Enum>
  void choice(const char* name, Enum&, int32_t) {
    add_number(name);
  }
  void precision(const char* name, Precision&) { add_number(name); }
  void require(bool, const char*) {}
  // Visits item 0 whatever the count, because every item of a list has the same fields.
  template <class Body>
  void each(const char* item, int32_t, const Body& body) {
    std::vector<OpField> outer = std::exchange(fields_, {});
    body(0);
    outer.push_back({item, OpField::Kind::kList, false, std::exchange(fields_, {})});
    fields_ = std::move(outer);
  }

  template <class T>
  void input(const char* name, T*&, int64_t) {
    add_tensor(name, false);
  }
  template <class T>
  void output(const char* name, T*&, int64_t) {
    add_tensor(name, false);
  }
  template <class T>
  void in_out(const char* name, T*&, int64_t) {
    add_tensor(name, false);
  }
  template <class T>
  void optional_input(const char* name, T*&, int64_t) {
    add_tensor(name, true);
  }
  template <class T>
  void optional_output(const char* name, T*&, int64_t) {
    add_tensor(name, true);
  }
  template <class T>
  void activation_input(const char* name, T*&, int64_t, Precision) {
    add_tensor(name, false);
  }
  template <class T>
  void activation_output(const char* name, T*&, int64_t, Precision) {
    add_tensor(name, false);
  }
  template <class T>
  void activation_in_out(const char* name, T*&, int64_t, Precision) {
    add_tensor(name, false);
  }
  template <class T>
  void optional_activation_input(const char* name, T*&, int64_t, Precision) {
    add_tensor(name, true);
  }
  template <class T>
  void optional_activation_output(const char* name, T*&, int64_t, Precision) {
    add_tensor(name, true);
  }
  template <class T>
  void packed_input(const char* name, T*&, const FilterShape&, Direction) {
    add_tensor(name, false);
  }
  template <class T>
  void packed_output(const char* name, T*&, const FilterShape&, Direction) {
    add_tensor(name, false);
  }
  template <class T>
  void optional_packed_input(const char* name, T*&, const FilterShape&, Direction) {
    add_tensor(name, true);
  }

 private:
  void add_number(const char* name) { fields_.push_back({name, OpField::Kind::kNumber}); }
  void add_tensor(const char* name, bool optional) {
    fields_.push_back({name, OpField::Kind::kTensor, optional});
  }

  std::vector<OpField> fields_;
};

template <class Described>
std::vector<OpField> list_fields() {
  FieldLister lister;
  Described described{};
  described.describe(lister);
  return lister.take();
}

}  // namespace

std::vector<OpListing> list_ops() {
  std::vector<OpListing> result;
#define PIXELCNN_X(Op) result.push_back({op_names()[result.size()], list_fields<Op>()});
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
  return result;
}

std::vector<OpField> list_filter_fields() { return list_fields<FilterShape>(); }

}  // namespace pixelcnn
