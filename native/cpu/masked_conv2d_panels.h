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

// Returns the first channel of group g, where group(c) = floor(c * groups / channels).
constexpr int group_begin(int g, int channels, int groups) {
  return static_cast<int>((int64_t{g} * channels + groups - 1) / groups);
}

inline int group_of(int channel, int channels, int groups) {
  return static_cast<int>(int64_t{channel} * groups / channels);
}

// Whether output channel k sees input channel c at the centre tap of mask A or B.
inline bool sees_centre(const FilterShape& shape, int k, int c) {
  const int output = group_of(k, shape.k, shape.channel_groups),
            input = group_of(c, shape.c, shape.channel_groups);
  return shape.window.own_row == OwnRow::kCentre ? input <= output : input < output;
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
      : forward_(direction == Direction::kForward),
        inputs_(forward_ ? shape.c : shape.k),
        outputs_(forward_ ? shape.k : shape.c),
        groups_(shape.channel_groups),
        window_(shape.window) {}

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  // Counts the centre tap, even though some panels see no channel through it.
  int taps() const { return window_.taps(); }
  int64_t columns() const { return begin(groups_).column; }
  int64_t weights() const { return columns() * taps() * inputs_; }
  int panels() const { return begin(groups_).panel; }
  int first_panel(int group) const { return begin(group).panel; }
  int64_t offset(const Panel& panel) const { return panel.column * taps() * inputs_; }

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
    const int edge = window_.has_grouped_centre() ? group_begin(seen, inputs_, groups_)
                     : forward_                   ? inputs_
                                                  : 0;
    return {group_begin(group, outputs_, groups_) + begin,
            channels,
            static_cast<int>(divide_up(channels, kLanes)),
            forward_ ? 0 : edge,
            forward_ ? edge : inputs_,
            at.column + begin};
  }

 private:
  static constexpr int kWidth = kBlockVectors * kLanes;
  struct Begin {
    int panel = 0;
    int64_t column = 0;
  };

  int size(int group) const {
    return group_begin(group + 1, outputs_, groups_) - group_begin(group, outputs_, groups_);
  }
  Begin begin(int group) const {
    Begin at;
    for (int g = 0; g < group; ++g) {
      at.panel += static_cast<int>(divide_up(size(g), kWidth));
      at.column += round_up(size(g), kLanes);
    }
    return at;
  }

  bool forward_;
  int inputs_, outputs_, groups_;
  Window window_;
};

}  // namespace pixelcnn::cpu::PIXELCNN_ISA
