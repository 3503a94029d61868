// Helps the CUDA kernel tests with device memory, one-line runs of ops on the GPU or the emulator and on
// the CPU, and rounding to a precision's storage. It compiles for both.
#pragma once
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "../../cuda/check.h"
#include "../../cuda/launch.h"
#include "../../cuda/tile.h"
#include "kernels_harness.h"

namespace pixelcnn::test {

// Device memory that begins as 0xff bytes (NaN), between guard pages in the emulator.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(int64_t count) : count_(count) {
    PIXELCNN_CUDA(cudaMalloc(&data_, count * sizeof(T)));
#ifndef PIXELCNN_CUDA_EMULATOR
    // compute-sanitizer's initcheck looks for reads of what nothing has written.
    static const bool leave_unwritten = std::getenv("PIXELCNN_TEST_INITCHECK") != nullptr;
    if (!leave_unwritten) PIXELCNN_CUDA(cudaMemset(data_, 0xff, count * sizeof(T)));
#endif
  }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(static_cast<int64_t>(values.size())) {
    write(values);
  }
  ~DeviceBuffer() { static_cast<void>(cudaFree(data_)); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  operator T*() const { return data_; }
  int64_t count() const { return count_; }
  void write(const std::vector<T>& values) {
    PIXELCNN_CUDA(cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  // In the emulator an error if an element was never written.
  std::vector<T> read() const {
    std::vector<T> values(count_);
    PIXELCNN_CUDA(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  int64_t count_;
  T* data_ = nullptr;
};

inline cuda::Gpu test_gpu() {
#ifdef PIXELCNN_CUDA_EMULATOR
  return {4, 90, nullptr};
#else
  cudaDeviceProp properties;
  PIXELCNN_CUDA(cudaGetDeviceProperties(&properties, 0));
  return {properties.multiProcessorCount, 10 * properties.major + properties.minor, nullptr};
#endif
}

// Runs an op with a workspace of the size it asks for. Throws if a kernel failed.
template <class Op>
void run_on_device(const Op& op, const cuda::Gpu& gpu) {
  const DeviceBuffer<std::byte> workspace(std::max<int64_t>(1, cuda::workspace(op, gpu)));
  cuda::run(op, cuda::Launch{nullptr, workspace, gpu.multiprocessors, gpu.cudnn});
  PIXELCNN_CUDA(cudaGetLastError());
  PIXELCNN_CUDA(cudaDeviceSynchronize());
}

template <class Op>
void run_on_cpu(const Op& op) {
  static const cpu::Kernels& kernels = *cpu::kernels(nullptr);
  ThreadPool pool(1);
  if (!run(kernels, op, pool)) throw Error("ERR_TEST", "the CPU kernel overran its workspace");
}

// The square of a masked convolution, or any other window of a few rows and columns.
inline Window random_window(Random& random) {
  if (random.chance(0.4)) {
    return masked_square(2 * random.integer(0, 4) + 1, random.chance(0.5) ? OwnRow::kLeft : OwnRow::kCentre);
  }
  Window window;
  window.own_row = static_cast<OwnRow>(random.integer(0, 3));
  window.above = random.integer(window.own_row == OwnRow::kNone ? 1 : 0, 4);
  window.rows = window.above + 1 + random.integer(0, 2);
  window.columns = random.chance(0.05) ? random.integer(8, 31) : random.integer(1, 7);
  window.left = random.integer(std::max(0, window.columns - 16), std::min(15, window.columns - 1));
  return window;
}

inline std::vector<std::byte> pack_on_cpu(const FilterShape& shape, Direction direction,
                                          const std::vector<float>& weight) {
  std::vector<std::byte> packed(cpu::kernels(nullptr)->packed_bytes(shape, direction));
  run_on_cpu(MaskedConv2dPack{{{weight.data(), packed.data(), shape, direction}}, 1});
  return packed;
}

// The value as the precision's convolutions see it.
inline float rounded(float value, Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return value;
    case Precision::kTf32: {
      const uint32_t bits = (cuda::bits_of(value) + 0x1000u) & ~0x1fffu;
      return value == value ? cuda::float_of_bits(bits) : value;
    }
    case Precision::kBf16:
      return cuda::to_float(cuda::from_float<cuda::bf16>(value));
    case Precision::kF16:
      return cuda::to_float(cuda::from_float<cuda::f16>(value));
  }
  return value;
}

// The value as the precision stores it: TF32 is float32 in memory.
inline float stored(float value, Precision precision) {
  return precision == Precision::kTf32 ? value : rounded(value, precision);
}

// Values in the storage of a precision.
inline std::vector<std::byte> to_storage(const std::vector<float>& values, Precision precision) {
  std::vector<std::byte> bytes(values.size() * element_bytes(precision));
  cuda::with_precision(precision, [&]<Precision p>() {
    using T = cuda::Element<p>;
    for (size_t i = 0; i < values.size(); ++i) {
      const T element = cuda::from_float<T>(values[i]);
      std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
    }
  });
  return bytes;
}
inline std::vector<float> from_storage(const std::vector<std::byte>& bytes, Precision precision) {
  std::vector<float> values(bytes.size() / element_bytes(precision));
  cuda::with_precision(precision, [&]<Precision p>() {
    using T = cuda::Element<p>;
    for (size_t i = 0; i < values.size(); ++i) {
      T element;
      std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = cuda::to_float(element);
    }
  });
  return values;
}

inline const char* name_of(Precision precision) {
  const char* names[] = {"f32", "tf32", "bf16", "f16"};
  return names[static_cast<int>(precision)];
}

// Images with the border of the sampler's tensors, which is zero.
inline std::vector<std::byte> pad_image(const std::vector<std::byte>& image, int n, int h, int w,
                                        int64_t pixel_bytes, int pad) {
  const int64_t row_bytes = w * pixel_bytes, pitch = (w + 2 * pad) * pixel_bytes;
  std::vector<std::byte> padded(n * (pad + h) * pitch);
  for (int64_t row = 0; row < int64_t{n} * h; ++row) {
    const int64_t to = (row / h * (pad + h) + pad + row % h) * pitch;
    std::memcpy(padded.data() + to + pad * pixel_bytes, image.data() + row * row_bytes, row_bytes);
  }
  return padded;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// ||a - b|| / max(||b||, scale); NaN counts as infinite.
inline double relative_distance(const std::vector<float>& a, const std::vector<float>& b, double scale = 0) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = double{a[i]} - b[i];
    if (d != d) return INFINITY;
    difference += d * d;
    norm += double{b[i]} * b[i];
  }
  const double size = std::max(std::sqrt(norm), scale);
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference) / size;
}

}  // namespace pixelcnn::test
