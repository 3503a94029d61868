// Cuts masked weights into panels: output channels by group, then by register width, with live taps only.
//
// In either direction a masked convolution has `inputs` and `outputs`, which are C and K forward and
// swapped backward. Its live taps are the first `taps` entries of each R x S filter in row-major order. In
// masks A and B the last of them is the centre. A panel belongs to one group, so at its centre tap it
// covers only the input channels that this group may see, and no masked weight is ever multiplied. In
// other windows the last tap covers all input channels, like every tap before it.
#pragma once
#include "../ops.h"
#include "element.h"

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
  static constexpr int kWidth = kBlockVectors * kLanes;  // of the widest panel

  PanelLayout(const FilterShape& shape, Direction direction)
      : forward_(direction == Direction::kForward), shape_(shape), window_(shape.window) {}

  const Window& window() const { return window_; }
  int sign() const { return forward_ ? 1 : -1; }  // of the taps' offsets
  int inputs() const { return forward_ ? shape_.c : shape_.k; }
  int outputs() const { return forward_ ? shape_.k : shape_.c; }
  // Counts the centre tap, even though some panels see no channel through it.
  int taps() const { return window_.taps(); }
  int64_t columns() const { return begin(shape_.channel_groups).column; }
  int panels() const { return begin(shape_.channel_groups).panel; }
  int first_panel(int group) const { return begin(group).panel; }
  // A sum for every live weight: panels of [tap][input channel][width].
  int64_t sums() const { return columns() * taps() * inputs(); }
  int64_t sum_offset(const Panel& panel) const { return panel.column * taps() * inputs(); }

  // With few input channels a row of taps runs as one tap, because its channels are contiguous in memory.
  bool merges_rows() const { return forward_ && inputs() < kFewChannels && window_.columns > 1; }
  // Packed weights are panels of [row of taps][run][width] factors. A run is a tap, or a row of taps if
  // rows are merged; the elements that do not fill its last factor are 0.
  int64_t packed_row() const { return packed_taps(window_.columns); }
  int64_t packed_factors() const { return columns() * packed_column(); }
  int64_t packed_offset(const Panel& panel) const { return panel.column * packed_column(); }

  // Where the weight of a tap and an input channel lies in a packed panel.
  struct Place {
    int64_t factor;
    int element;  // of the factor
    bool last;    // of its run
  };
  Place place(const Panel& panel, int tap, int input) const {
    const bool is_last_tap = tap == taps() - 1;
    const int column = tap % window_.columns, channels = tap_channels(panel, tap);
    const int index = input - (is_last_tap ? panel.centre_begin : 0);
    int64_t factor = tap / window_.columns * packed_row();
    if (!merges_rows()) {
      factor += packed_taps(column);
      return {factor + index / kElements, index % kElements, index == channels - 1};
    }
    const int in_row = column * inputs() + index;
    const bool ends_row = is_last_tap || column == window_.columns - 1 ||
                          (tap == taps() - 2 && tap_channels(panel, tap + 1) == 0);
    return {factor + in_row / kElements, in_row % kElements, ends_row && index == channels - 1};
  }

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
  static constexpr int kFewChannels = 8, kElements = kPerFactor<Element>;
  struct Begin {
    int panel = 0;
    int64_t column = 0;
  };

  int tap_channels(const Panel& panel, int tap) const {
    return tap == taps() - 1 ? panel.centre_end - panel.centre_begin : inputs();
  }
  // The factors of the first `taps` taps of a row, and of all taps, per column.
  int64_t packed_taps(int taps) const {
    return merges_rows() ? divide_up(int64_t{taps} * inputs(), kElements)
                         : taps * divide_up(inputs(), kElements);
  }
  int64_t packed_column() const {
    return taps() / window_.columns * packed_row() + packed_taps(taps() % window_.columns);
  }

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
