// Compares the sampler's draws on the CUDA backend with the CPU backend: logits have the bits of a forward
// pass, levels are equal where logits are, and values that are not finite are treated alike.
#include "cuda_ops_test.h"
#include "kernels_reference.h"

namespace pixelcnn::test {

namespace {

// Whether level v may be drawn by u: the distribution function is known within rounding only.
bool may_be_drawn(const float* logits, int levels, float temperature, float u, int v) {
  if (temperature == 0) return v == std::max_element(logits, logits + levels) - logits;
  const reference::Doubles cdf = reference::cumulative(logits, levels, temperature);
  return cdf[v] > u - 1e-6 && (v == 0 || cdf[v - 1] <= u + 1e-6);
}

std::vector<float> pad_images(const std::vector<float>& x, const Region& front, int n, int h, int w, int c) {
  std::vector<float> padded(front.count(n, h, w) * c);
  for (int64_t row = 0; row < int64_t{n} * h; ++row) {
    const int64_t to = (row / h * (front.pad + h) + front.pad + row % h) * (w + 2 * front.pad) + front.pad;
    std::copy(x.begin() + row * w * c, x.begin() + (row + 1) * w * c, padded.begin() + to * c);
  }
  return padded;
}

}  // namespace

void CudaOpsTest::sample() {
  // With small integers every sum is exact, so the logits are the CPU's bit for bit.
  const bool exact = random_.chance(0.5), finite = !exact || random_.chance(0.6);
  HeadCase head(random_, 5, exact);
  const int n = head.n, h = head.h, w = head.w, channels = head.channels, levels = head.levels;
  const int pad = random_.integer(0, 2);
  const Region front = {
      .pixels = Region::Pixels::kFront, .pad = pad, .slope = random_.integer(pad + 1, pad + 2)};
  const auto front_of = [&](int channel, int ahead) {
    Region region = front;
    region.group = channel, region.ahead = ahead;
    return region;
  };
  const float temperature = random_.chance(0.3) ? 0 : random_.chance(0.5) ? 1 : 0.1f + random_.uniform();
  if (!finite) {
    const float odd_ones[] = {NAN, INFINITY, -INFINITY};
    for (float& value : head.bias) {
      if (random_.chance(0.3 * random_.uniform())) value = odd_ones[random_.integer(0, 2)];
    }
    if (random_.chance(0.3)) head.bias[0] = NAN;
  }
  const int64_t pixels = int64_t{n} * h * w;
  std::vector<float> uniforms(pixels * channels);
  for (float& u : uniforms) u = random_.uniform();
  std::vector<uint8_t> known(pixels);
  for (uint8_t& value : known) value = random_.chance(0.3);
  const bool with_known = random_.chance(0.5), with_logits = random_.chance(0.7);
  for (uint8_t& value : head.level) value = static_cast<uint8_t>(value % levels);
  // With guidance, each image has a second one under no condition. Products with these factors are exact.
  const float guidances[] = {0, 0.5f, 1, 1.5f, 3};
  const float guidance = guidances[random_.integer(0, 4)];
  const bool guided = random_.chance(0.5);
  const int copies = guided ? 2 : 1;
  std::vector<float> features = head.x;
  if (guided) {
    for (const float value : head.x)
      features.push_back(exact ? static_cast<float>(random_.integer(0, 2))
                               : rounded(std::fabs(value + 0.3f * random_.normal()), head.precision));
  }
  const std::string name = head.name("sample") + (exact ? " exact" : "") + (finite ? "" : " not finite") +
                           " temperature=" + std::to_string(temperature) +
                           (guided ? " guidance=" + std::to_string(guidance) : "");

  // The CPU's levels.
  const std::vector<std::byte> cpu_packed = pack_on_cpu(head.cpu_shape(), Direction::kForward, head.weight);
  const std::vector<float> padded = pad_images(features, front, copies * n, h, w, head.c);
  std::vector<uint8_t> expected = head.level;
  std::vector<float> image(front.count(copies * n, h, w) * channels), cpu_logits(head.shape().y_count());
  const int32_t last = w + front.slope * (h - 1);  // one beyond the last front
  for (int32_t t = 0; t <= last; ++t) {
    for (int channel = 0; channel < channels; ++channel) {
      run_on_cpu(SampleFront{padded.data(), cpu_packed.data(), head.bias.data(), uniforms.data(),
                             &temperature, guided ? &guidance : nullptr, &t,
                             with_known ? known.data() : nullptr, expected.data(), image.data(),
                             cpu_logits.data(), head.cpu_head(), front_of(channel, 0)});
    }
  }

  const DeviceBuffer<std::byte> packed(pack_on_device(head, Direction::kForward, gpu_)),
      x(to_storage(features, head.precision)), x_padded(to_storage(padded, head.precision)),
      device_image(to_storage(std::vector<float>(image.size()), head.precision));
  const DeviceBuffer<float> bias(head.bias), device_uniforms(uniforms), y(copies * head.shape().y_count()),
      device_guidance(std::vector<float>{guidance}), logits(std::vector<float>(head.shape().y_count())),
      device_temperature(std::vector<float>{temperature});
  const DeviceBuffer<uint8_t> device_known(known), level(head.level);
  const uint8_t* known_or_null = with_known ? device_known : static_cast<uint8_t*>(nullptr);
  const float* guidance_or_null = guided ? device_guidance : static_cast<float*>(nullptr);
  float* logits_or_null = with_logits ? logits : static_cast<float*>(nullptr);
  MaskedConv2dShape all_images = head.shape();
  all_images.n *= copies;
  run_on_device(MaskedConv2d{.x = x,
                             .packed = packed,
                             .bias = bias,
                             .add = nullptr,
                             .position = nullptr,
                             .y = y,
                             .shape = all_images,
                             .region = {},
                             .relu = 0,
                             .float_y = 1},
                gpu_);
  const DeviceBuffer<int32_t> position(std::vector<int32_t>{-1});
  // Some fronts ahead of the position, then the position goes on by as many.
  for (int32_t t = -1; t <= last;) {
    const int fronts = random_.chance(0.3) ? 1 : random_.integer(1, last + 2);
    for (int ahead = 0; ahead < fronts; ++ahead) {
      for (int channel = 0; channel < channels; ++channel) {
        run_on_device(SampleFront{x_padded, packed, bias, device_uniforms, device_temperature,
                                  guidance_or_null, position, known_or_null, level, device_image,
                                  logits_or_null, head.head(), front_of(channel, ahead)},
                      gpu_);
      }
    }
    run_on_device(NextFront{position, fronts}, gpu_);
    t += fronts;
  }

  std::vector<float> forward = y.read();
  if (guided) {
    const int64_t count = static_cast<int64_t>(forward.size()) / 2;
    for (int64_t i = 0; i < count; ++i) {
      const float none = forward[count + i], product = guidance * (forward[i] - none);
      forward[i] = none + product;
    }
    forward.resize(count);
  }
  if (with_logits && finite)
    report.check(same_bits(logits.read(), forward), name + ": logits have forward's bits");
  const std::vector<uint8_t> drawn = level.read();
  std::vector<float> expected_image(pixels * channels);
  bool levels_ok = true, equal = true;
  for (int64_t i = 0; i < static_cast<int64_t>(drawn.size()); ++i) {
    const int v = drawn[i];
    expected_image[i] = static_cast<float>(v) / static_cast<float>(levels - 1);
    if (with_known && known[i / channels]) {
      levels_ok &= v == head.level[i];
      continue;
    }
    const float* own = forward.data() + i * levels;
    const bool possible = v < levels && (!finite || may_be_drawn(own, levels, temperature, uniforms[i], v));
    levels_ok &= possible;
    if (!exact) {
      ++draws_;
      different_draws_ += v != expected[i];
    } else if (v != expected[i]) {
      // u lies where the two exponentials' last bits decide.
      equal &= finite && temperature != 0 && may_be_drawn(own, levels, temperature, uniforms[i], expected[i]);
    }
  }
  report.check(levels_ok, name + ": levels fit their logits");
  report.check(equal, name + ": the CPU's levels");
  if (guided) expected_image.insert(expected_image.end(), expected_image.begin(), expected_image.end());
  report.check(
      same_bits(device_image.read(),
                to_storage(pad_images(expected_image, front, copies * n, h, w, channels), head.precision)),
      name + ": image");
}

}  // namespace pixelcnn::test
