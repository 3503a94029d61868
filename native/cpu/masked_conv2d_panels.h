// Cuts masked weights into panels: output channels by group, then by register width, with live taps only.
//
// In either direction a masked convolution has `inputs` and `outputs`, which are C and K forward and
// swapped backward. Its live taps are the first `taps` entries of each R x S filter in row-major order. In
// masks A and B the last of them is the centre. A panel belongs to one group, so at its centre tap it
// covers only the input channels that this group may see, and no masked weight is ever multiplied. In
// other windows the last tap covers all input channels, like every tap before it.
#pragma once
#include "../ops.h"
#include "simd.h"

namespace pixelcnn::cpu::PIXELCNN_ISA {

inline constexpr int kMaxTaps = 15 * 31 + 31;

// Whether output channel k sees input channel c at the centre tap of mask A or B.
inline bool sees_centre(const FilterShape& shape, int k, int c) {
  const int output = shape.output_group(k), input = shape.input_group(c);
  return shape.window.own_row == OwnRow::kCentre ? input <= output : input < output;
}

// Whether output channel k sees input channel c through the last live tap of the window.
inline bool sees_last_tap(const FilterShape& shape, int k, int c) {
  return !shape.window.has_grouped_centre() || sees_centre(shape, k, c);
}

struct Panel {
  int first, channels;           // output channels [first, first + channels)
  int vectors;                   // width in vectors; lanes from `channels` on are padding
  int centre_begin, centre_end;  // input channels that the last tap covers
  int64_t column;                // of the first lane, if all panels stand side by side
  int width() const { return vectors * kLanes; }
};

class PanelLayout {
 public:
  PanelLayout(const FilterShape& shape, Direction direction)
      : forward_(direction == Direction::kForward), shape_(shape), window_(shape.window) {}

  int inputs() const { return forward_ ? shape_.c : shape_.k; }
  int outputs() const { return forward_ ? shape_.k : shape_.c; }
  // Counts the centre tap, even though some panels see no channel through it.
  int taps() const { return window_.taps(); }
  int64_t columns() const { return begin(shape_.channel_groups).column; }
  int64_t weights() const { return columns() * taps() * inputs(); }
  int panels() const { return begin(shape_.channel_groups).panel; }
  int first_panel(int group) const { return begin(group).panel; }
  int64_t offset(const Panel& panel) const { return panel.column * taps() * inputs(); }

  Panel panel(int index) const {
    Begin at;
    int group = 0;
    for (;; ++group) {
      const int panels = static_cast<int>(divide_up(size(group), kWidth));
      if (index < at.panel + panels) break;
      at.panel += panels;
      at.column += round_up(size(group), kLanes);
    }
    const int begin = (index - at.panel) * kWidth;
    const int channels = smaller(kWidth, size(group) - begin);
    const int seen = group + (forward_ == (window_.own_row == OwnRow::kCentre));
    const int edge = window_.has_grouped_centre() ? first_input(seen) : forward_ ? inputs() : 0;
    return {first_output(group) + begin,
            channels,
            static_cast<int>(divide_up(channels, kLanes)),
            forward_ ? 0 : edge,
            forward_ ? edge : inputs(),
            at.column + begin};
  }

 private:
  static constexpr int kWidth = kBlockVectors * kLanes;
  struct Begin {
    int panel = 0;
    int64_t column = 0;
  };

  // The first input and output of a group, in this direction.
  int first_input(int group) const {
    return forward_ ? shape_.first_input(group) : shape_.first_output(group);
  }
  int first_output(int group) const {
    return forward_ ? shape_.first_output(group) : shape_.first_input(group);
  }
  int size(int group) const { return first_output(group + 1) - first_output(group); }
  Begin begin(int group) const {
    Begin at;
    for (int g = 0; g < group; ++g) {
      at.panel += static_cast<int>(divide_up(size(g), kWidth));
      at.column += round_up(size(g), kLanes);
    }
    return at;
  }

  bool forward_;
  FilterShape shape_;
  Window window_;
};

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
