// The op table: one argument struct per op and one list of them. Op ids, the decoder, Backend's virtual
// functions and the names in errors and traces are all made from PIXELCNN_OPS.
//
// Shape letters: N images, H W height and width, C input channels, K output channels, R S filter height and
// width. Weights are OIHW (K, C, R, S) float32, images and levels NHWC uint8. Activations and their gradients
// are NHWC in the element type of the op's precision, here `void`: float32 on the CPU.
// `describe` lists an op's fields in wire order, numbers first, then tensors with the element counts that the
// program's validator holds them to. A list is described by `each`, so that errors name the item of a field.
#pragma once
#include <cstdint>

namespace pixelcnn {

enum class MaskType : int32_t { kA = 0, kB = 1 };
enum class Algorithm : int32_t { kAuto = 0, kDirect = 1, kWinograd = 2 };
enum class Direction : int32_t { kForward = 0, kBackward = 1 };

// How activations are stored and multiplied; sums are float32 always. kTf32 stores float32 and rounds the
// factors of a convolution to 10 bits of mantissa. Every backend has kF32.
enum class Precision : int32_t { kF32 = 0, kTf32 = 1, kBf16 = 2, kF16 = 3 };

constexpr int64_t element_bytes(Precision precision) {
  return precision == Precision::kBf16 || precision == Precision::kF16 ? 2 : 4;
}

// Gradients of activations in kF16 are stored times this power of two: the mean over n * h * w pixels would
// vanish below its smallest number otherwise.
constexpr float gradient_scale(Precision precision, int64_t pixels) {
  float scale = 1;
  while (precision == Precision::kF16 && 2 * scale <= static_cast<float>(pixels)) scale *= 2;
  return scale;
}

// A k x k masked convolution, stride 1, "same" zero padding. At the centre tap an output channel of group g
// sees the input channels of groups < g (mask A) or <= g (mask B), where group(c) = floor(c * groups /
// channels).
struct MaskedConv2dShape {
  int32_t n, h, w, c, k;
  int32_t kernel_size;
  MaskType mask;
  int32_t groups;
  Algorithm algorithm;
  Precision precision = Precision::kF32;

  int64_t weight_count() const { return int64_t{k} * c * kernel_size * kernel_size; }
  int64_t x_count() const { return int64_t{n} * h * w * c; }
  int64_t y_count() const { return int64_t{n} * h * w * k; }

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("k", k, 1, 1 << 16);
    v.odd("kernelSize", kernel_size, 1, 31);
    v.choice("mask", mask, 2);
    v.number("groups", groups, 1, 256);
    v.choice("algorithm", algorithm, 3);
    v.precision("precision", precision);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(groups <= c && groups <= k, "there must be a channel for every group");
  }
};

// random = {key word 0, key word 1, epoch, 0}: Philox4x32-10 with counter (index[n], pixel, epoch, 1);
// out = 255 where u < byte / 255, else 0. Dynamic binarisation.
struct Binarise {
  const uint8_t* bytes;    // (N, pixels)
  const uint32_t* index;   // (N) index of the image in its dataset
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

// level = floor(byte * levels / 256); x = level / (levels - 1).
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

// u = (first word of Philox4x32-10 with counter (index[n], i, 0, 0) >> 8) * 2^-24 for i in [0, values).
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

// One filter to pack. `packed` is opaque: Backend::packed_bytes tells its size, whatever n, h and w are.
struct FilterPack {
  const float* weight;  // (K, C, R, S); entries under the mask are not read
  void* packed;
  MaskedConv2dShape shape;
  Direction direction;
};

// Masks the weights of a list of filters and lays the live taps of each out for one direction and algorithm.
// The filters are of one precision, so that one kernel can pack them all.
struct MaskedConv2dPack {
  static constexpr int32_t kMostFilters = 32;

  FilterPack filters[kMostFilters];
  int32_t count;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, kMostFilters);
    v.each("filter", count, [&](int32_t i) {
      filters[i].shape.describe(v);
      v.choice("direction", filters[i].direction, 2);
      v.require(filters[i].shape.precision == filters[0].shape.precision,
                "its precision must be that of filter 0");
    });
    v.each("filter", count, [&](int32_t i) {
      v.input("weight", filters[i].weight, filters[i].shape.weight_count());
      v.packed_output("packed", filters[i].packed, filters[i].shape, filters[i].direction);
    });
  }
};

// y = conv(x, weight * mask) + bias, followed by ReLU if `relu`. ReLU keeps NaN. With `float_y` y is float32
// whatever the precision: logits that are returned.
struct MaskedConv2dForward {
  const void* x;       // (N, H, W, C)
  const void* packed;  // forward
  const float* bias;   // (K)
  void* y;             // (N, H, W, K)
  MaskedConv2dShape shape;
  int32_t relu;
  int32_t float_y = 0;

  Precision y_precision() const { return float_y ? Precision::kF32 : shape.precision; }

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    v.number("relu", relu, 0, 1);
    v.number("floatY", float_y, 0, 1);
    v.activation_input("x", x, shape.x_count(), shape.precision);
    v.packed_input("packed", packed, shape, Direction::kForward);
    v.input("bias", bias, shape.k);
    v.activation_output("y", y, shape.y_count(), y_precision());
  }
};

// grad_x = the input gradient; where `gate` is given, 0 where gate <= 0 (x is then the output of a ReLU).
struct MaskedConv2dBackwardInput {
  const void* grad_y;  // (N, H, W, K)
  const void* packed;  // backward
  const void* gate;    // (N, H, W, C) or null
  void* grad_x;        // (N, H, W, C)
  MaskedConv2dShape shape;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    v.activation_input("gradY", grad_y, shape.y_count(), shape.precision);
    v.packed_input("packed", packed, shape, Direction::kBackward);
    v.optional_activation_input("gate", gate, shape.x_count(), shape.precision);
    v.activation_output("gradX", grad_x, shape.x_count(), shape.precision);
  }
};

// Gradients under the mask are exactly 0. The gradients of parameters are not scaled (gradient_scale of
// grad_y, N * H * W pixels, is taken out).
struct MaskedConv2dBackwardWeight {
  const void* x;       // (N, H, W, C)
  const void* grad_y;  // (N, H, W, K)
  float* grad_weight;  // (K, C, R, S)
  float* grad_bias;    // (K)
  MaskedConv2dShape shape;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    v.activation_input("x", x, shape.x_count(), shape.precision);
    v.activation_input("gradY", grad_y, shape.y_count(), shape.precision);
    v.output("gradWeight", grad_weight, shape.weight_count());
    v.output("gradBias", grad_bias, shape.k);
  }
};

// The model's head: a 1 x 1 masked convolution (type B, `channels` groups) to channels * levels logits and
// the cross-entropy of each image against `level`, in nats. Logits live in scratch only.
struct SoftmaxCrossEntropy {
  const void* x;         // (N, H, W, C)
  const void* packed;    // forward, kernel_size 1, direct
  const float* bias;     // (channels * levels)
  const uint8_t* level;  // (N, H, W, channels), values >= levels count as levels - 1
  double* nats;          // (N)
  int32_t n, h, w, c, channels, levels;
  Precision precision = Precision::kF32;

  MaskedConv2dShape head() const {
    return {n, h, w, c, channels * levels, 1, MaskType::kB, channels, Algorithm::kDirect, precision};
  }

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("channels", channels, 1, 256);
    v.number("levels", levels, 2, 256);
    v.precision("precision", precision);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(channels <= c, "there must be a hidden channel for every image channel");
    v.activation_input("x", x, head().x_count(), precision);
    v.packed_input("packed", packed, head(), Direction::kForward);
    v.input("bias", bias, int64_t{channels} * levels);
    v.input("level", level, int64_t{n} * h * w * channels);
    v.output("nats", nats, n);
  }
};

// The same, with the gradients of the mean over N * H * W * channels. x is the output of a ReLU: grad_x is
// gated by x > 0.
struct SoftmaxCrossEntropyBackward {
  const void* x;                // (N, H, W, C)
  const void* packed;           // forward
  const void* packed_backward;  // backward
  const float* bias;            // (channels * levels)
  const uint8_t* level;         // (N, H, W, channels)
  double* nats;                 // (N)
  void* grad_x;                 // (N, H, W, C), times gradient_scale
  float* grad_weight;           // (channels * levels, C, 1, 1)
  float* grad_bias;             // (channels * levels)
  int32_t n, h, w, c, channels, levels;
  Precision precision = Precision::kF32;

  MaskedConv2dShape head() const {
    return {n, h, w, c, channels * levels, 1, MaskType::kB, channels, Algorithm::kDirect, precision};
  }

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("channels", channels, 1, 256);
    v.number("levels", levels, 2, 256);
    v.precision("precision", precision);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(channels <= c, "there must be a hidden channel for every image channel");
    v.activation_input("x", x, head().x_count(), precision);
    v.packed_input("packed", packed, head(), Direction::kForward);
    v.packed_input("packedBackward", packed_backward, head(), Direction::kBackward);
    v.input("bias", bias, int64_t{channels} * levels);
    v.input("level", level, int64_t{n} * h * w * channels);
    v.output("nats", nats, n);
    v.activation_output("gradX", grad_x, head().x_count(), precision);
    v.output("gradWeight", grad_weight, head().weight_count());
    v.output("gradBias", grad_bias, int64_t{channels} * levels);
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

// Adam with decoupled weight decay, clipping by global norm and an exponential moving average of the
// parameters. A step whose gradient norm is not finite changes nothing but state[2]. hyper = {learning rate,
// beta1, beta2, epsilon, weight decay, maximal norm or 0, EMA decay or 0, unused}.
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

// Clears `count` words of 32 bits.
struct Zero {
  uint32_t* y;  // (count)
  int32_t count;

  template <class V>
  void describe(V& v) {
    v.number("count", count, 1, INT32_MAX);
    v.output("y", y, count);
  }
};

// Wavefront sampling. At step t the pixels (i, j) with j + slope * i = t are on the front. The ops read a
// step from memory and work on t = step + ahead, so that one program may have many fronts; a t off the image,
// or beyond int32, has no pixels. The sampler's activations carry their own zero border: (N, pad + H, pad + W
// + pad, channels), pixel (i, j) at row pad + i, column pad + j.
struct FrontShape {
  int32_t pad;    // >= kernel_size / 2 of every layer
  int32_t slope;  // pad + 1: the front never needs a pixel that is not drawn yet

  static constexpr int32_t kMostFronts = 1 << 16;  // of one program

  int64_t pixels(int32_t n, int32_t h, int32_t w) const { return int64_t{n} * (pad + h) * (w + 2 * pad); }

  template <class V>
  void describe(V& v) {
    v.number("pad", pad, 0, 15);
    v.number("slope", slope, 1, 16);
  }
};

// One hidden layer with ReLU at the pixels of the front, for the output channels of one group. The same bits
// as MaskedConv2dForward with Algorithm::kDirect.
struct MaskedConv2dFront {
  const void* x;        // padded, C channels
  const void* packed;   // forward, direct
  const float* bias;    // (K)
  const int32_t* step;  // (1)
  void* y;              // padded, K channels
  MaskedConv2dShape shape;
  FrontShape front;
  int32_t group;
  int32_t ahead = 0;

  template <class V>
  void describe(V& v) {
    shape.describe(v);
    front.describe(v);
    v.number("group", group, 0, shape.groups - 1);
    v.number("ahead", ahead, 0, FrontShape::kMostFronts - 1);
    v.require(front.pad >= shape.kernel_size / 2, "pad must be at least kernelSize / 2");
    v.require(front.slope > front.pad, "slope must exceed pad");
    v.require(shape.algorithm == Algorithm::kDirect, "the front runs the direct algorithm only");
    v.activation_input("x", x, front.pixels(shape.n, shape.h, shape.w) * shape.c, shape.precision);
    v.packed_input("packed", packed, shape, Direction::kForward);
    v.input("bias", bias, shape.k);
    v.input("step", step, 1);
    v.activation_in_out("y", y, front.pixels(shape.n, shape.h, shape.w) * shape.k, shape.precision);
  }
};

// Draws one image channel at the pixels of the front: the first v with cumsum(softmax(logits /
// temperature))[v] > u; temperature 0 takes the argmax. Pixels marked in `known` keep the level they have.
// The drawn level is written to `level` and, as level / (levels - 1), to the network's input `image`.
struct SampleFront {
  const void* x;             // padded, C channels: the last hidden layer
  const void* packed;        // forward, kernel_size 1, direct
  const float* bias;         // (channels * levels)
  const float* uniforms;     // (N, H, W, channels)
  const float* temperature;  // (1)
  const int32_t* step;       // (1)
  const uint8_t* known;      // (N, H, W), non-zero where the pixel is given; or null
  uint8_t* level;            // (N, H, W, channels)
  void* image;               // padded, `channels` channels
  float* logits;             // (N, H, W, channels, levels) before the temperature, or null
  int32_t n, h, w, c, channels, levels;
  FrontShape front;
  int32_t channel;
  Precision precision = Precision::kF32;
  int32_t ahead = 0;

  MaskedConv2dShape head() const {
    return {n, h, w, c, channels * levels, 1, MaskType::kB, channels, Algorithm::kDirect, precision};
  }

  template <class V>
  void describe(V& v) {
    v.number("n", n, 1, 1 << 20);
    v.number("h", h, 1, 1 << 14);
    v.number("w", w, 1, 1 << 14);
    v.number("c", c, 1, 1 << 14);
    v.number("channels", channels, 1, 256);
    v.number("levels", levels, 2, 256);
    v.precision("precision", precision);
    v.require(int64_t{n} * h * w <= INT32_MAX, "n * h * w must be below 2^31");
    v.require(channels <= c, "there must be a hidden channel for every image channel");
    front.describe(v);
    v.number("channel", channel, 0, channels - 1);
    v.number("ahead", ahead, 0, FrontShape::kMostFronts - 1);
    v.require(front.slope > front.pad, "slope must exceed pad");
    v.activation_input("x", x, front.pixels(n, h, w) * c, precision);
    v.packed_input("packed", packed, head(), Direction::kForward);
    v.input("bias", bias, int64_t{channels} * levels);
    v.input("uniforms", uniforms, int64_t{n} * h * w * channels);
    v.input("temperature", temperature, 1);
    v.input("step", step, 1);
    v.optional_input("known", known, int64_t{n} * h * w);
    v.in_out("level", level, int64_t{n} * h * w * channels);
    v.activation_in_out("image", image, front.pixels(n, h, w) * channels, precision);
    v.optional_output("logits", logits, int64_t{n} * h * w * channels * levels);
  }
};

// step = step + fronts.
struct NextFront {
  int32_t* step;  // (1)
  int32_t fronts = 1;

  template <class V>
  void describe(V& v) {
    v.number("fronts", fronts, 1, FrontShape::kMostFronts);
    v.in_out("step", step, 1);
  }
};

#define PIXELCNN_OPS(X)          \
  X(Binarise)                    \
  X(Quantise)                    \
  X(RandomUniform)               \
  X(MaskedConv2dPack)            \
  X(MaskedConv2dForward)         \
  X(MaskedConv2dBackwardInput)   \
  X(MaskedConv2dBackwardWeight)  \
  X(SoftmaxCrossEntropy)         \
  X(SoftmaxCrossEntropyBackward) \
  X(GradientNorm)                \
  X(Adam)                        \
  X(Zero)                        \
  X(MaskedConv2dFront)           \
  X(SampleFront)                 \
  X(NextFront)

}  // namespace pixelcnn
