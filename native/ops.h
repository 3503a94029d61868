// Defines the op table: one struct of arguments per op, and one list of all ops. Op ids, the decoder,
// Backend's virtual functions and the names in errors and traces are generated from PIXELCNN_OPS.
//
// Letters in shapes: N images, H height, W width, C input channels, K output channels, R x S filter height
// and width. Weights are float32 in OIHW order (K, C, R, S); images and levels are uint8 in NHWC order.
// Activations and their gradients are NHWC in the element type of the op's precision; their pointers are
// `void*`.
// `describe` lists the fields of an op in the order of the command buffer: first the numbers with their
// ranges, then the tensors with their element counts, against which the decoder checks them. `each`
// describes a list, so that errors name the item of a field. The names must not depend on values, because
// op_listing.cc calls `describe` on an op without values to tell TypeScript the fields.
#pragma once
#include <cstdint>

#include "op_shapes.h"

namespace pixelcnn {

// Dynamic binarisation: out = 255 where u < byte / 255, else 0. u comes from Philox4x32-10 with counter
// (index[n], pixel, epoch, 1); random = {key word 0, key word 1, epoch, 0}.
struct Binarise {
  const uint8_t* bytes;    // (N, pixels)
  const uint32_t* index;   // (N) position of the image in its dataset
  const uint32_t* random;  // (4)
  uint8_t* out;            // (N, pixels)
  int32_t n, pixels;

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("pixels", pixels, 1, 1 << 28);
    v.input("bytes", bytes, int64_t{n} * pixels);
    v.input("index", index, n);
    v.input("random", random, 4);
    v.output("out", out, int64_t{n} * pixels);
  }
};

// Turns bytes into levels and into the network's input: level = floor(byte * levels / 256); x = level /
// (levels - 1).
struct Quantise {
  const uint8_t* bytes;  // (count)
  uint8_t* level;        // (count)
  void* x;               // (count)
  int32_t count, levels;
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.number("levels", levels, 2, 256);
    v.precision("precision", precision);
    v.input("bytes", bytes, count);
    v.output("level", level, count);
    v.activation_output("x", x, count, precision);
  }
};

// Draws uniform numbers: u = (first word of Philox4x32-10 with counter (index[n], i, 0, 0) >> 8) * 2^-24,
// for i in [0, values).
struct RandomUniform {
  const uint32_t* index;   // (N)
  const uint32_t* random;  // (4) key word 0, key word 1, unused, unused
  float* u;                // (N, values)
  int32_t n, values;

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("values", values, 1, 1 << 28);
    v.input("index", index, n);
    v.input("random", random, 4);
    v.output("u", u, int64_t{n} * values);
  }
};

// A row of a table for each index: y[i, :] = table[index[i], :]. An index beyond the table takes the last
// row.
struct Embedding {
  const float* table;     // (rows, size)
  const uint32_t* index;  // (count)
  void* y;                // (count, size)
  int32_t count, rows, size;
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, 1 << 20);
    v.number("rows", rows, 1, 1 << 17);
    v.number("size", size, 1, 1 << 14);
    v.precision("precision", precision);
    v.input("table", table, int64_t{rows} * size);
    v.input("index", index, count);
    v.activation_output("y", y, int64_t{count} * size, precision);
  }
};

// grad_table[row, :] = the sum of grad_y[i, :] over the i with index[i] = row, in increasing order of i, and
// 0 for rows without any. It is not scaled: the op divides by the gradient_scale of `count` pixels.
struct EmbeddingBackward {
  const uint32_t* index;  // (count)
  const void* grad_y;     // (count, size)
  float* grad_table;      // (rows, size)
  int32_t count, rows, size;
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, 1 << 20);
    v.number("rows", rows, 1, 1 << 17);
    v.number("size", size, 1, 1 << 14);
    v.precision("precision", precision);
    v.input("index", index, count);
    v.activation_input("gradY", grad_y, int64_t{count} * size, precision);
    v.output("gradTable", grad_table, int64_t{rows} * size);
  }
};

// y = x in the element type of the precision: the activations of values that come from outside.
struct Cast {
  const float* x;  // (count)
  void* y;         // (count)
  int32_t count;
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.precision("precision", precision);
    v.input("x", x, count);
    v.activation_output("y", y, count, precision);
  }
};

// One filter to pack. The layout of `packed` is up to the backend; Backend::packed_bytes returns its size.
struct FilterPack {
  const float* weight;  // (K, C, R, S); masked entries are not read
  void* packed;
  FilterShape shape;
  Direction direction;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    v.choice("direction", direction, 2);
  }
};

// Masks the weights of a list of filters and copies the live taps of each into the layout for one
// direction and algorithm. All filters have one precision, so that a single kernel can pack them.
struct MaskedConv2dPack {
  static constexpr int32_t kMostFilters = 32;

  FilterPack filters[kMostFilters];
  int32_t count;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, kMostFilters);
    v.each("filter", count, [&](int32_t i) {
      filters[i].describe(v);
      v.require(filters[i].shape.precision == filters[0].shape.precision,
                "its precision must be that of filter 0");
    });
    v.each("filter", count, [&](int32_t i) {
      v.input("weight", filters[i].weight, filters[i].shape.weight_count());
      v.packed_output("packed", filters[i].packed, filters[i].shape, filters[i].direction);
    });
  }
};

// y = conv(x, weight * mask) + bias + add, followed by ReLU if `relu` is set, at the pixels and for the
// channel group of `region`; other outputs keep their values. ReLU keeps NaN. With `float_y`, y is float32
// in every precision, because these logits are returned to the user. An output has the same bits in every
// region, if the algorithm is direct.
struct MaskedConv2d {
  const void* x;            // (N, H, W, C), with border in a region
  const void* packed;       // forward
  const float* bias;        // (K) or null
  const void* add;          // like y, or null
  const int32_t* position;  // (1), null for whole images
  void* y;                  // (N, H, W, K), with border in a region
  MaskedConv2dShape shape;
  Region region;
  int32_t relu;
  int32_t float_y = 0;

  Precision y_precision() const { return float_y ? Precision::kF32 : shape.precision; }

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    region.describe(v, shape.channel_groups);
    v.number("relu", relu, 0, 1);
    v.number("floatY", float_y, 0, 1);
    const Window& window = shape.window;
    const int32_t most = window.left > window.right() ? window.left : window.right();
    v.require(region.is_image() || (region.pad >= window.above && region.pad >= most),
              "pad must be at least the reach of the window");
    v.require(region.is_image() || region.slope > window.right(), "slope must exceed the reach to the right");
    v.require(region.is_image() || shape.algorithm == Algorithm::kDirect,
              "regions run the direct algorithm only");
    v.require(region.is_image() || !float_y, "float32 outputs are for whole images");
    const int64_t pixels = region.count(shape.n, shape.h, shape.w);
    v.activation_input("x", x, pixels * shape.c, shape.precision);
    v.packed_input("packed", packed, shape, Direction::kForward);
    v.optional_input("bias", bias, shape.k);
    v.optional_activation_input("add", add, pixels * shape.k, y_precision());
    v.optional_input("position", position, 1);
    v.require((position != nullptr) != region.is_image(),
              "a region needs a position, whole images have none");
    if (region.is_image())
      v.activation_output("y", y, pixels * shape.k, y_precision());
    else
      v.activation_in_out("y", y, pixels * shape.k, y_precision());
  }
};

// grad_x = the gradient of the input + add. If `relu_output` is given, grad_x is 0 where relu_output <= 0:
// the input was then the output of a ReLU, and this is the gradient before it.
struct MaskedConv2dBackwardInput {
  const void* grad_y;       // (N, H, W, K)
  const void* packed;       // backward
  const void* add;          // (N, H, W, C) or null
  const void* relu_output;  // (N, H, W, C) or null
  void* grad_x;             // (N, H, W, C)
  MaskedConv2dShape shape;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    v.activation_input("gradY", grad_y, shape.y_count(), shape.precision);
    v.packed_input("packed", packed, shape, Direction::kBackward);
    v.optional_activation_input("add", add, shape.x_count(), shape.precision);
    v.optional_activation_input("reluOutput", relu_output, shape.x_count(), shape.precision);
    v.activation_output("gradX", grad_x, shape.x_count(), shape.precision);
  }
};

// Gradients of masked weights are exactly 0. Parameter gradients are not scaled: the op divides by the
// gradient_scale of grad_y's N * H * W pixels.
struct MaskedConv2dBackwardWeight {
  const void* x;       // (N, H, W, C)
  const void* grad_y;  // (N, H, W, K)
  float* grad_weight;  // (K, C, R, S)
  float* grad_bias;    // (K) or null
  MaskedConv2dShape shape;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    v.activation_input("x", x, shape.x_count(), shape.precision);
    v.activation_input("gradY", grad_y, shape.y_count(), shape.precision);
    v.output("gradWeight", grad_weight, shape.weight_count());
    v.optional_output("gradBias", grad_bias, shape.k);
  }
};

// y = a + b, and 0 where relu_output <= 0 if that is given: the gradient of a tensor whose parts no other
// op adds up.
struct Accumulate {
  const void* a;            // (count)
  const void* b;            // (count) or null
  const void* relu_output;  // (count) or null
  void* y;                  // (count)
  int32_t count;
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.precision("precision", precision);
    v.activation_input("a", a, count, precision);
    v.optional_activation_input("b", b, count, precision);
    v.optional_activation_input("reluOutput", relu_output, count, precision);
    v.activation_output("y", y, count, precision);
  }
};

// y = x + condition, followed by ReLU if `relu` is set, at the pixels and for the channel group of `region`;
// other outputs keep their values. ReLU keeps NaN. The condition has one row for each image or, with
// `per_pixel`, one for each pixel; it never has a border. An output has the same bits in every region.
struct AddCondition {
  const void* x;            // (N, H, W, C), with border in a region
  const void* condition;    // (N, C) or (N, H, W, C)
  const int32_t* position;  // (1), null for whole images
  void* y;                  // (N, H, W, C), with border in a region
  int32_t n, h, w, c, channel_groups;
  int32_t per_pixel, relu;
  Precision precision = Precision::kF32;
  Region region;

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("channelGroups", channel_groups, 1, 256);
    v.number("perPixel", per_pixel, 0, 1);
    v.number("relu", relu, 0, 1);
    v.precision("precision", precision);
    region.describe(v, channel_groups);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(channel_groups <= c, "there must be a channel for every group");
    const int64_t pixels = region.count(n, h, w);
    v.activation_input("x", x, pixels * c, precision);
    v.activation_input("condition", condition, condition_rows(per_pixel, n, h, w) * c, precision);
    v.optional_input("position", position, 1);
    v.require((position != nullptr) != region.is_image(),
              "a region needs a position, whole images have none");
    if (region.is_image())
      v.activation_output("y", y, pixels * c, precision);
    else
      v.activation_in_out("y", y, pixels * c, precision);
  }
};

// y[n, :] = the sum of x[n, pixel, :] over the pixels: the gradient of a vector that is added to every pixel
// of an image. In kF16 y is multiplied by the gradient_scale of N pixels, and no longer by that of x's.
struct SumPixels {
  const void* x;  // (N, pixels, C)
  void* y;        // (N, C)
  int32_t n, pixels, c;
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("pixels", pixels, 1, 1 << 28);
    v.number("c", c, 1, 1 << 14);
    v.precision("precision", precision);
    v.require(int64_t{n} * pixels <= INT32_MAX, "n * pixels must be below 2^31");
    v.activation_input("x", x, int64_t{n} * pixels * c, precision);
    v.activation_output("y", y, int64_t{n} * c, precision);
  }
};

// y[i] = tanh(a[2i]) * sigmoid(a[2i + 1]), where a = x + condition, or x if there is none: the gate of van
// den Oord et al. 2016b, whose two halves are neighbouring channels. It is computed at the pixels and for the
// channel group of `region`; other outputs keep their values. The group of a channel of y is that of both
// halves. The condition is as in AddCondition. An output has the same bits in every region.
struct GatedActivation {
  const void* x;            // (N, H, W, 2C), with border in a region
  const void* condition;    // (N, 2C) or (N, H, W, 2C), or null
  const int32_t* position;  // (1), null for whole images
  void* y;                  // (N, H, W, C), with border in a region
  int32_t n, h, w, c, channel_groups;
  int32_t per_pixel;  // 0 without a condition
  Precision precision = Precision::kF32;
  Region region;

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("channelGroups", channel_groups, 1, 256);
    v.number("perPixel", per_pixel, 0, 1);
    v.precision("precision", precision);
    region.describe(v, channel_groups);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(channel_groups <= c, "there must be a channel for every group");
    const int64_t pixels = region.count(n, h, w);
    v.activation_input("x", x, pixels * 2 * c, precision);
    v.optional_activation_input("condition", condition, condition_rows(per_pixel, n, h, w) * 2 * c,
                                precision);
    v.optional_input("position", position, 1);
    v.require((position != nullptr) != region.is_image(),
              "a region needs a position, whole images have none");
    if (region.is_image())
      v.activation_output("y", y, pixels * c, precision);
    else
      v.activation_in_out("y", y, pixels * c, precision);
  }
};

// grad_x[2i] = grad_y[i] * s * (1 - t^2) and grad_x[2i + 1] = grad_y[i] * t * s * (1 - s), where t =
// tanh(a[2i]), s = sigmoid(a[2i + 1]) and a = x + condition as in GatedActivation. It is the gradient of x
// and, pixel by pixel, that of the condition.
struct GatedActivationBackward {
  const void* x;          // (N, H, W, 2C)
  const void* condition;  // (N, 2C) or (N, H, W, 2C), or null
  const void* grad_y;     // (N, H, W, C)
  void* grad_x;           // (N, H, W, 2C)
  int32_t n, h, w, c;
  int32_t per_pixel;  // 0 without a condition
  Precision precision = Precision::kF32;

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("perPixel", per_pixel, 0, 1);
    v.precision("precision", precision);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    const int64_t gates = int64_t{n} * h * w * c;
    v.activation_input("x", x, 2 * gates, precision);
    v.optional_activation_input("condition", condition, condition_rows(per_pixel, n, h, w) * 2 * c,
                                precision);
    v.activation_input("gradY", grad_y, gates, precision);
    v.activation_output("gradX", grad_x, 2 * gates, precision);
  }
};

// The head's logits and the cross-entropy of each image against `level` in nats. The logits exist only in
// scratch memory. In training it also computes the gradients of the mean of the nats over N * H * W *
// channels; if x is the output of a ReLU, it is also given as `relu_output`, and grad_x is the gradient
// before that ReLU.
struct SoftmaxCrossEntropy {
  const void* x;                // (N, H, W, C)
  const void* packed;           // forward
  const void* packed_backward;  // backward; null unless training
  const float* bias;            // (channels * levels)
  const uint8_t* level;         // (N, H, W, channels), values >= levels count as levels - 1
  const void* relu_output;      // (N, H, W, C) or null
  double* nats;                 // (N)
  void* grad_x;                 // (N, H, W, C), multiplied by gradient_scale; null unless training
  float* grad_weight;           // (channels * levels, C, 1, 1); null unless training
  float* grad_bias;             // (channels * levels); null unless training
  HeadShape shape;

  bool training() const { return grad_x != nullptr; }

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    const MaskedConv2dShape convolution = shape.convolution();
    v.activation_input("x", x, convolution.x_count(), shape.precision);
    v.packed_input("packed", packed, convolution, Direction::kForward);
    v.optional_packed_input("packedBackward", packed_backward, convolution, Direction::kBackward);
    v.input("bias", bias, convolution.k);
    v.input("level", level, shape.pixels() * shape.channels);
    v.optional_activation_input("reluOutput", relu_output, convolution.x_count(), shape.precision);
    v.output("nats", nats, shape.n);
    v.optional_activation_output("gradX", grad_x, convolution.x_count(), shape.precision);
    v.optional_output("gradWeight", grad_weight, convolution.weight_count());
    v.optional_output("gradBias", grad_bias, convolution.k);
    v.require((packed_backward != nullptr) == training() && (grad_weight != nullptr) == training() &&
                  (grad_bias != nullptr) == training() && (relu_output == nullptr || training()),
              "the operands of training must be given together");
  }
};

// state[0] = the L2 norm of the gradients, summed in float64 in a fixed order.
struct GradientNorm {
  const float* gradients;  // (count)
  double* state;           // (4) gradient norm, steps taken, steps skipped, unused
  int32_t count;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.input("gradients", gradients, count);
    v.in_out("state", state, 4);
  }
};

// The Adam optimizer with decoupled weight decay, clipping by the global norm, and an exponential moving
// average of the parameters. A step whose gradient norm is not finite changes only state[2]. hyper =
// {learning rate, beta1, beta2, epsilon, weight decay, maximum norm or 0, EMA decay or 0, unused}.
struct Adam {
  const float* gradients;  // (count)
  const float* hyper;      // (8)
  double* state;           // (4) gradient norm, steps taken, steps skipped, unused
  float* parameters;       // (count)
  float* moment1;          // (count)
  float* moment2;          // (count)
  float* average;          // (count)
  int32_t count;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.input("gradients", gradients, count);
    v.input("hyper", hyper, 8);
    v.in_out("state", state, 4);
    v.in_out("parameters", parameters, count);
    v.in_out("moment1", moment1, count);
    v.in_out("moment2", moment2, count);
    v.in_out("average", average, count);
  }
};

// Sets `count` words of 32 bits to 0.
struct Zero {
  uint32_t* y;  // (count)
  int32_t count;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.output("y", y, count);
  }
};

// Draws one image channel, the region's group, at the pixels of the front: the first v with
// cumsum(softmax(logits / temperature))[v] > u. Temperature 0 takes the argmax. Pixels marked in `known`
// keep their level. The drawn level is written to `level` and, as level / (levels - 1), to the network's
// input `image`.
//
// With `guidance`, x and `image` hold 2N images: image N + i is image i under no condition. The level is
// drawn from the logits none + guidance * (logits - none), and written to both. `logits` holds these.
struct SampleFront {
  const void* x;             // with border, C channels: the features of N images, or 2N
  const void* packed;        // forward
  const float* bias;         // (channels * levels)
  const float* uniforms;     // (N, H, W, channels)
  const float* temperature;  // (1)
  const float* guidance;     // (1) or null
  const int32_t* position;   // (1)
  const uint8_t* known;      // (N, H, W), non-zero where the pixel is given; or null
  uint8_t* level;            // (N, H, W, channels)
  void* image;               // with border, `channels` channels
  float* logits;             // (N, H, W, channels, levels) before the temperature, or null
  HeadShape shape;
  Region region;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    region.describe(v, shape.channels);
    v.require(region.pixels == Region::Pixels::kFront && region.group != Region::kAllGroups,
              "levels are drawn on fronts, one channel at a time");
    v.optional_input("guidance", guidance, 1);
    const int64_t bordered = (guidance ? 2 : 1) * region.count(shape.n, shape.h, shape.w);
    const int64_t values = shape.pixels() * shape.channels;
    v.activation_input("x", x, bordered * shape.c, shape.precision);
    v.packed_input("packed", packed, shape.convolution(), Direction::kForward);
    v.input("bias", bias, int64_t{shape.channels} * shape.levels);
    v.input("uniforms", uniforms, values);
    v.input("temperature", temperature, 1);
    v.input("position", position, 1);
    v.optional_input("known", known, shape.pixels());
    v.in_out("level", level, values);
    v.activation_in_out("image", image, bordered * shape.channels, shape.precision);
    v.optional_output("logits", logits, values * shape.levels);
  }
};

// Moves the front on: position = position + fronts.
struct NextFront {
  int32_t* position;  // (1)
  int32_t fronts = 1;

  template <class V>
  void describe(V& v) {
    v.number("fronts", fronts, 1, Region::kMostFronts);
    v.in_out("position", position, 1);
  }
};

#define PIXELCNN_OPS(X)         \
  X(Binarise)                   \
  X(Quantise)                   \
  X(RandomUniform)              \
  X(Embedding)                  \
  X(EmbeddingBackward)          \
  X(Cast)                       \
  X(MaskedConv2dPack)           \
  X(MaskedConv2d)               \
  X(MaskedConv2dBackwardInput)  \
  X(MaskedConv2dBackwardWeight) \
  X(Accumulate)                 \
  X(AddCondition)               \
  X(SumPixels)                  \
  X(GatedActivation)            \
  X(GatedActivationBackward)    \
  X(SoftmaxCrossEntropy)        \
  X(GradientNorm)               \
  X(Adam)                       \
  X(Zero)                       \
  X(SampleFront)                \
  X(NextFront)

}  // namespace pixelcnn
