// Declares the op table as data, so that TypeScript writes the fields of an op by name and keeps no list of
// its own.
#pragma once
#include <string>
#include <vector>

namespace pixelcnn {

struct OpField {
  enum class Kind { kNumber, kTensor, kList };
  std::string name;
  Kind kind;
  bool optional = false;             // of a tensor
  std::vector<OpField> fields = {};  // of each item of a list
};

struct OpListing {
  std::string name;
  std::vector<OpField> fields;  // in the order of the command buffer
};

// Returns the ops in the order of their ids.
std::vector<OpListing> list_ops();

// Returns the numbers that decode_filter reads.
std::vector<OpField> list_filter_fields();

}  // namespace pixelcnn
