// Adds up activations over the pixels of each image, in one round of blocks for small images and in two for
// large ones: first the sums of parts of an image, then the sum of these.
#include "launch.h"
#include "tile.h"

namespace pixelcnn::cuda {

namespace {

// A part has so many pixels whatever the batch is, so the sums of an image do not depend on other images.
constexpr int kPartPixels = 1024;
// A block has kAcross vectors of channels, 128 bytes, of kDown pixels at a time.
constexpr int kAcross = 8, kDown = 32, kThreads = kAcross * kDown;

template <class T>
constexpr int kChannels = kAcross*(16 / sizeof(T));  // of a block

// Returns the first `count` of a vector's elements, and 0 for others.
template <bool vectors, class T>
__device__ inline Vector<T> load(const T* from, int count) {
  if constexpr (vectors) {
    return *reinterpret_cast<const Vector<T>*>(from);
  } else {
    Vector<T> elements;
    for (int i = 0; i < int{16 / sizeof(T)}; ++i) elements.at[i] = i < count ? from[i] : T{};
    return elements;
  }
}

// Sets y[part, :] to scale * the sum of x over the pixels of the part. Each thread adds every kDown-th of
// them, and then one thread adds these sums.
template <class T, class Sum, bool vectors>
__global__ void __launch_bounds__(kThreads)
    sum_pixels_kernel(const T* x, Sum* y, int pixels, int part_pixels, int c, float scale) {
  constexpr int kVector = 16 / sizeof(T);
  SHARED(float, partial, [kDown][kChannels<T>]);
  const int across = (c + kChannels<T> - 1) / kChannels<T>, parts = (pixels + part_pixels - 1) / part_pixels;
  const int part = static_cast<int>(blockIdx.x) / across, image = part / parts;
  const int first_channel = (static_cast<int>(blockIdx.x) - part * across) * kChannels<T>;
  const int down = static_cast<int>(threadIdx.x) / kAcross, place = threadIdx.x % kAcross * kVector;
  const int channel = first_channel + place;

  float sums[kVector] = {};
  if (channel < c) {
    const int first = (part - image * parts) * part_pixels, count = min(part_pixels, pixels - first);
    const T* from = x + (int64_t{image} * pixels + first) * c + channel;
#pragma unroll 4
    for (int pixel = down; pixel < count; pixel += kDown) {
      const Vector<T> values = load<vectors>(from + int64_t{pixel} * c, c - channel);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums[i] += to_float(values.at[i]);
    }
  }
  for (int i = 0; i < kVector; ++i) partial[down][place + i] = sums[i];
  __syncthreads();

  const int own = static_cast<int>(threadIdx.x);
  if (own >= kChannels<T> || first_channel + own >= c) return;
  float sum = 0;
  for (int other = 0; other < kDown; ++other) sum += partial[other][own];
  y[int64_t{part} * c + first_channel + own] = from_float<Sum>(sum * scale);
}

template <class T, class Sum>
void launch_sum_pixels(const T* x, Sum* y, int n, int pixels, int part_pixels, int c, float scale,
                       const Launch& launch) {
  const int64_t blocks = n * blocks_of(pixels, part_pixels) * blocks_of(c, kChannels<T>);
  const auto launch_kernel = [&]<bool vectors>() {
    LAUNCH((sum_pixels_kernel<T, Sum, vectors>), static_cast<unsigned>(blocks), kThreads, 0, launch.stream)
    (x, y, pixels, part_pixels, c, scale);
  };
  if (c % int{16 / sizeof(T)} == 0)
    launch_kernel.template operator()<true>();
  else
    launch_kernel.template operator()<false>();
}

int parts_of(const SumPixels& op) { return static_cast<int>(blocks_of(op.pixels, kPartPixels)); }

}  // namespace

int64_t workspace(const SumPixels& op, const Gpu&) {
  const int64_t parts = parts_of(op);
  return parts == 1 ? 0 : op.n * parts * op.c * int64_t{sizeof(float)};
}

void run(const SumPixels& op, const Launch& launch) {
  const int parts = parts_of(op);
  const float scale =
      gradient_scale(op.precision, op.n) / gradient_scale(op.precision, int64_t{op.n} * op.pixels);
  with_precision(op.precision, [&]<Precision precision>() {
    using T = Element<precision>;
    const auto* x = static_cast<const T*>(op.x);
    auto* y = static_cast<T*>(op.y);
    if (parts == 1) return launch_sum_pixels(x, y, op.n, op.pixels, kPartPixels, op.c, scale, launch);
    auto* sums = reinterpret_cast<float*>(launch.workspace);
    launch_sum_pixels(x, sums, op.n, op.pixels, kPartPixels, op.c, 1, launch);
    launch_sum_pixels(sums, y, op.n, parts, parts, op.c, scale, launch);
  });
}

}  // namespace pixelcnn::cuda
