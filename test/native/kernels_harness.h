// Helps kernels_test with buffers between guard bands, random data, and one-line runs of ops.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../../native/cpu/kernels.h"
#include "../../native/cpu/thread_pool.h"

namespace pixelcnn::test {

using cpu::Context;
using cpu::Kernels;
using cpu::ThreadPool;

// 64-byte aligned elements that begin as 0xff bytes (NaN as float) between two guard bands.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : count_(count), bytes_(count * sizeof(T) + 2 * kGuard + 64, 0xff) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data()) + kGuard;
    begin_ = kGuard + (64 - address % 64) % 64;
  }
  T* data() { return reinterpret_cast<T*>(bytes_.data() + begin_); }
  const T* data() const { return reinterpret_cast<const T*>(bytes_.data() + begin_); }
  operator T*() { return data(); }
  const T& operator[](int64_t i) const { return data()[i]; }
  T& operator[](int64_t i) { return data()[i]; }
  int64_t count() const { return count_; }
  bool guards_intact() const {
    for (size_t i = 0; i < bytes_.size(); ++i) {
      const bool guard = i < begin_ || i >= begin_ + count_ * sizeof(T);
      if (guard && bytes_[i] != 0xff) return false;
    }
    return true;
  }
  bool same_bits(const Buffer& other) const {
    return std::memcmp(data(), other.data(), count_ * sizeof(T)) == 0;
  }

 private:
  static constexpr size_t kGuard = 256;
  int64_t count_;
  std::vector<uint8_t> bytes_;
  size_t begin_;
};

// Rounds to bf16, to nearest even: adds half of the last kept bit, less one if that bit is 0.
inline float round_to_bf16(float value) {
  if (value != value) return value;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits += 0x7fff + (bits >> 16 & 1);
  bits &= 0xffff0000;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Activations in the element type of a precision: the upper halves of floats in bf16.
class Activations {
 public:
  Activations(Precision precision, int64_t count)
      : bf16_(precision == Precision::kBf16), count_(count), bytes_(count * element_bytes(precision)) {}

  int64_t count() const { return count_; }
  int64_t element() const { return bf16_ ? 2 : 4; }
  float operator[](int64_t i) const {
    uint32_t bits = 0;
    std::memcpy(reinterpret_cast<std::byte*>(&bits) + 4 - element(), bytes_.data() + i * element(),
                element());
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  void set(int64_t i, float value) {
    const float stored = bf16_ ? round_to_bf16(value) : value;
    std::memcpy(bytes_.data() + i * element(), reinterpret_cast<const std::byte*>(&stored) + 4 - element(),
                element());
  }
  Buffer<float> floats() const {
    Buffer<float> result(count_);
    for (int64_t i = 0; i < count_; ++i) result[i] = (*this)[i];
    return result;
  }
  std::byte* at(int64_t i) { return bytes_.data() + i * element(); }
  const std::byte* at(int64_t i) const { return bytes_.data() + i * element(); }
  operator std::byte*() { return bytes_.data(); }
  bool guards_intact() const { return bytes_.guards_intact(); }
  bool same_bits(const Activations& other) const { return bytes_.same_bits(other.bytes_); }

 private:
  bool bf16_;
  int64_t count_;
  Buffer<std::byte> bytes_;
};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int integer(int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine_); }
  bool chance(double p) { return uniform() < p; }
  float uniform() { return std::uniform_real_distribution<float>(0, 1)(engine_); }
  float normal() { return std::normal_distribution<float>()(engine_); }
  // Integers are small enough for every sum in these tests to be exact.
  void fill(Buffer<float>& buffer, bool integers, float scale = 1) {
    for (int64_t i = 0; i < buffer.count(); ++i) {
      buffer[i] = integers ? static_cast<float>(integer(-3, 3)) : normal() * scale;
    }
  }
  void fill(Activations& activations, bool integers, float scale = 1) {
    for (int64_t i = 0; i < activations.count(); ++i)
      activations.set(i, integers ? static_cast<float>(integer(-3, 3)) : normal() * scale);
  }

 private:
  std::mt19937_64 engine_;
};

// Runs an op with a workspace of the size it asks for, filled with NaN. False if it wrote past its workspace.
#define PIXELCNN_X(Op)                                                       \
  inline bool run(const Kernels& kernels, const Op& op, ThreadPool& pool) {  \
    Buffer<std::byte> workspace(kernels.workspace_##Op(op, pool.threads())); \
    Context context{pool, workspace.data()};                                 \
    kernels.run_##Op(op, context);                                           \
    return workspace.guards_intact();                                        \
  }
PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

// The norm of the elements that are not NaN.
inline double norm(Buffer<float> a) {
  double sum = 0;
  for (int64_t i = 0; i < a.count(); ++i) sum += a[i] == a[i] ? double{a[i]} * a[i] : 0;
  return std::sqrt(sum);
}

// ||a - b|| / max(||b||, scale); NaN counts as infinite.
inline double relative_error(const Buffer<float>& a, const std::vector<double>& b, double scale = 0) {
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    const double d = a.data()[i] - b[i];
    if (d != d) return INFINITY;
    difference += d * d;
    norm += b[i] * b[i];
  }
  const double size = std::max(std::sqrt(norm), scale);
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference) / size;
}

// Half the distance from a value to the next one in bf16, which has 8 bits.
inline double half_step_of_bf16(double value) {
  int exponent;
  std::frexp(value, &exponent);
  return std::ldexp(1.0, exponent - 9);
}

// The error of a float32 sum that is allowed for each value, and that of rounding the sum to bf16.
inline std::vector<double> allowed_error(const std::vector<double>& expected, double tolerance,
                                         bool rounded) {
  double largest = 0;
  for (double value : expected) largest = std::max(largest, std::abs(value));
  std::vector<double> allowed;
  for (double value : expected)
    allowed.push_back(tolerance * largest + (rounded ? half_step_of_bf16(value) : 0));
  return allowed;
}

// The largest error as a share of what is allowed for its value. NaN counts as infinite.
template <class Values>
double share_of_allowed(const Values& a, const std::vector<double>& expected,
                        const std::vector<double>& allowed) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double d = std::abs(a[i] - expected[i]);
    if (d != d) return INFINITY;
    if (d > 0) worst = std::max(worst, d / allowed[i]);
  }
  return worst;
}

inline std::string describe(const FilterShape& s) {
  const char* algorithms[] = {"auto", "direct", "winograd"};
  const char* own_rows[] = {"none", "left", "centre", "all"};
  const Window& window = s.window;
  char text[160];
  std::snprintf(text, sizeof text, "c=%d k=%d window=%dx%d above=%d left=%d own row=%s groups=%d%s %s", s.c,
                s.k, window.rows, window.columns, window.above, window.left,
                own_rows[static_cast<int>(window.own_row)], s.channel_groups, s.pairs ? " pairs" : "",
                algorithms[static_cast<int>(s.algorithm)]);
  return text;
}
inline std::string describe(const MaskedConv2dShape& s) {
  char text[60];
  std::snprintf(text, sizeof text, "n=%d h=%d w=%d ", s.n, s.h, s.w);
  return text + describe(static_cast<const FilterShape&>(s));
}

// Counts checks; prints the failed ones.
class Report {
 public:
  void check(bool ok, const std::string& what) {
    ok ? ++passed_ : ++failed_;
    if (!ok) std::printf("FAILED %s\n", what.c_str());
  }
  void check_error(double error, double limit, const std::string& what, double& worst) {
    worst = std::max(worst, error);
    if (error > limit) std::printf("  error %.3g, limit %.3g: ", error, limit);
    check(error <= limit, what);
  }
  double worst_direct = 0, worst_winograd = 0, worst_head = 0, worst_rounding = 0;
  int passed() const { return passed_; }
  int failed() const { return failed_; }

 private:
  int passed_ = 0, failed_ = 0;
};

}  // namespace pixelcnn::test
