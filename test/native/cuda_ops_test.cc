// Compares CUDA ops with the CPU backend on random shapes, in the emulator or, compiled by nvcc, on a GPU.
//   cuda_ops_test [shapes=200] [seed=1] [op=all] [schedules=1]
// Schedules beyond the first, which runs threads in order, are random ones of the emulator.
#include "cuda_ops_test.h"

#include <cstdio>
#include <cstdlib>

namespace pixelcnn::test {

void CudaOpsTest::quantise() {
  const int count = random_.integer(1, 3000), levels = random_.integer(2, 256);
  const Precision precision = random_precision();
  const std::vector<uint8_t> bytes = random_bytes(count);
  std::vector<uint8_t> level(count);
  std::vector<float> x(count);
  run_on_cpu(Quantise{bytes.data(), level.data(), x.data(), count, levels});

  const DeviceBuffer<uint8_t> device_bytes(bytes), device_level(count);
  const DeviceBuffer<std::byte> device_x(count * element_bytes(precision));
  run_on_device(Quantise{device_bytes, device_level, device_x, count, levels, precision}, gpu_);
  const std::string name = "quantise count=" + std::to_string(count) + " levels=" + std::to_string(levels) +
                           " " + name_of(precision);
  report.check(same_bits(device_level.read(), level), name + ": levels");
  report.check(same_bits(device_x.read(), to_storage(x, precision)), name + ": x");
}

void CudaOpsTest::binarise() {
  const int n = random_.integer(1, 5), pixels = random_.integer(1, 300);
  const std::vector<uint8_t> bytes = random_bytes(int64_t{n} * pixels);
  std::vector<uint32_t> index(n), random(4);
  for (uint32_t& word : index) word = static_cast<uint32_t>(random_.integer(INT32_MIN, INT32_MAX));
  for (uint32_t& word : random) word = static_cast<uint32_t>(random_.integer(INT32_MIN, INT32_MAX));
  std::vector<uint8_t> out(bytes.size());
  run_on_cpu(Binarise{bytes.data(), index.data(), random.data(), out.data(), n, pixels});

  const DeviceBuffer<uint8_t> device_bytes(bytes), device_out(int64_t{n} * pixels);
  const DeviceBuffer<uint32_t> device_index(index), device_random(random);
  run_on_device(Binarise{device_bytes, device_index, device_random, device_out, n, pixels}, gpu_);
  report.check(same_bits(device_out.read(), out), "binarise pixels=" + std::to_string(pixels));
}

void CudaOpsTest::random_uniform() {
  const int n = random_.integer(1, 5), values = random_.integer(1, 300);
  std::vector<uint32_t> index(n), random(4);
  for (uint32_t& word : index) word = static_cast<uint32_t>(random_.integer(INT32_MIN, INT32_MAX));
  for (uint32_t& word : random) word = static_cast<uint32_t>(random_.integer(INT32_MIN, INT32_MAX));
  std::vector<float> u(int64_t{n} * values);
  run_on_cpu(RandomUniform{index.data(), random.data(), u.data(), n, values});

  const DeviceBuffer<uint32_t> device_index(index), device_random(random);
  const DeviceBuffer<float> device_u(int64_t{n} * values);
  run_on_device(RandomUniform{device_index, device_random, device_u, n, values}, gpu_);
  report.check(same_bits(device_u.read(), u), "uniform values=" + std::to_string(values));
}

void CudaOpsTest::zero_and_next_front() {
  const int count = random_.integer(1, 5000);
  const DeviceBuffer<uint32_t> y(count);
  run_on_device(Zero{y, count}, gpu_);
  report.check(y.read() == std::vector<uint32_t>(count, 0), "zero count=" + std::to_string(count));

  const int32_t position = random_.chance(0.1) ? INT32_MAX : random_.integer(-1, 1000);
  const int fronts = random_.chance(0.3) ? 1 : random_.integer(1, Region::kMostFronts);
  int32_t expected = position;
  run_on_cpu(NextFront{&expected, fronts});
  const DeviceBuffer<int32_t> device_position(std::vector<int32_t>{position});
  run_on_device(NextFront{device_position, fronts}, gpu_);
  report.check(device_position.read()[0] == expected, "next front fronts=" + std::to_string(fronts));
}

void CudaOpsTest::accumulate() {
  const int count = random_.integer(1, random_.chance(0.2) ? 9000 : 300);
  const Precision precision = random_precision();
  const auto activations = [&] {
    std::vector<float> values = normals(count);
    for (float& value : values) {
      if (random_.chance(0.1)) value = random_.chance(0.5) ? 0 : NAN;
      value = stored(value, precision);
    }
    return values;
  };
  const std::vector<float> a = activations(), b = activations(), relu_output = activations();
  const bool with_b = random_.chance(0.7), with_relu_output = random_.chance(0.5);
  std::vector<float> y(count);
  run_on_cpu(Accumulate{a.data(), with_b ? b.data() : nullptr,
                        with_relu_output ? relu_output.data() : nullptr, y.data(), count});

  const DeviceBuffer<std::byte> device_a(to_storage(a, precision)), device_b(to_storage(b, precision)),
      device_relu_output(to_storage(relu_output, precision)), device_y(count * element_bytes(precision));
  std::byte* none = nullptr;
  run_on_device(Accumulate{device_a, with_b ? device_b : none, with_relu_output ? device_relu_output : none,
                           device_y, count, precision},
                gpu_);
  report.check(same_bits(without_nan(from_storage(device_y.read(), precision)),
                         without_nan(from_storage(to_storage(y, precision), precision))),
               "accumulate count=" + std::to_string(count) + (with_b ? " b" : "") +
                   (with_relu_output ? " relu output " : " ") + name_of(precision));
}

void CudaOpsTest::gradient_norm() {
  const int count = random_.integer(1, random_.chance(0.2) ? 20000 : 2000);
  std::vector<float> gradients = normals(count);
  for (float& g : gradients) g *= std::exp(4 * random_.normal());
  if (random_.chance(0.2)) gradients[random_.integer(0, count - 1)] = random_.chance(0.5) ? NAN : INFINITY;
  const std::vector<double> state = {-1, 7, 2, 5};
  std::vector<double> expected = state;
  run_on_cpu(GradientNorm{gradients.data(), expected.data(), count});

  const DeviceBuffer<float> device_gradients(gradients);
  std::vector<double> first;
  for (const int multiprocessors : {1, 5}) {
    cuda::Gpu gpu = gpu_;
    gpu.multiprocessors = multiprocessors;
    const DeviceBuffer<double> device_state(state);
    run_on_device(GradientNorm{device_gradients, device_state, count}, gpu);
    const std::vector<double> result = device_state.read();
    if (first.empty()) first = result;
    report.check(same_bits(result, first), "norm: same bits on every GPU");
  }
  const std::string name = "norm count=" + std::to_string(count);
  const bool equal = std::isfinite(expected[0])
                         ? std::abs(first[0] - expected[0]) <= 1e-14 * expected[0]
                         : std::isnan(first[0]) == std::isnan(expected[0]) && !std::isfinite(first[0]);
  report.check(equal, name);
  report.check(first[1] == 7 && first[2] == 2 && first[3] == 5, name + ": the rest of the state");
}

void CudaOpsTest::adam() {
  const int count = random_.integer(1, 3000);
  const std::vector<float> gradients = normals(count), parameters = normals(count), moment1 = normals(count),
                           average = normals(count);
  std::vector<float> moment2 = normals(count);
  for (float& v : moment2) v *= random_.chance(0.1) ? 0 : v;
  const float beta1 = 0.9f, beta2 = 0.999f, rate = 0.01f * random_.uniform(), epsilon = 1e-8f;
  const std::vector<float> hyper = {rate,
                                    beta1,
                                    beta2,
                                    epsilon,
                                    random_.chance(0.5) ? 0.1f : 0,
                                    random_.chance(0.5) ? 1 + 20 * random_.uniform() : 0,
                                    random_.chance(0.5) ? 0.99f : 0,
                                    0};
  const bool skipped = random_.chance(0.2);
  const double norm = skipped ? (random_.chance(0.5) ? NAN : INFINITY) : 30 * random_.uniform();
  const std::vector<double> state = {norm, static_cast<double>(random_.integer(0, 2000)), 3, 0};

  std::vector<float> p = parameters, m = moment1, v = moment2, a = average;
  std::vector<double> expected_state = state;
  run_on_cpu(Adam{gradients.data(), hyper.data(), expected_state.data(), p.data(), m.data(), v.data(),
                  a.data(), count});

  const DeviceBuffer<float> device_gradients(gradients), device_hyper(hyper), device_p(parameters),
      device_m(moment1), device_v(moment2), device_a(average);
  const DeviceBuffer<double> device_state(state);
  run_on_device(
      Adam{device_gradients, device_hyper, device_state, device_p, device_m, device_v, device_a, count},
      gpu_);
  const std::string name = "adam count=" + std::to_string(count) + (skipped ? " skipped" : "");
  report.check(same_bits(device_state.read(), expected_state), name + ": state");
  const std::vector<float> new_p = device_p.read(), new_m = device_m.read(), new_v = device_v.read(),
                           new_a = device_a.read();
  if (skipped) {
    report.check(same_bits(new_p, parameters) && same_bits(new_m, moment1) && same_bits(new_v, moment2) &&
                     same_bits(new_a, average),
                 name + ": nothing changes");
    return;
  }
  // A few roundings of the operands of each sum, carried through the update.
  const double rounding = 4 * 0x1p-24, taken = state[1] + 1;
  const double step = rate / (1 - std::pow(double{beta1}, taken)),
               root = 1 / std::sqrt(1 - std::pow(double{beta2}, taken));
  bool close = true;
  for (int i = 0; i < count; ++i) {
    const double m_error = rounding * (std::abs(moment1[i]) + std::abs(gradients[i]));
    const double update = std::abs(double{p[i]} - parameters[i]);
    const double p_error = 2 * rounding * (std::abs(parameters[i]) + update) +
                           step * m_error / (std::sqrt(double{v[i]}) * root + epsilon);
    close &= std::abs(double{new_m[i]} - m[i]) <= m_error;
    close &= std::abs(double{new_v[i]} - v[i]) <= rounding * v[i];
    close &= std::abs(double{new_p[i]} - p[i]) <= p_error;
    close &=
        std::abs(double{new_a[i]} - a[i]) <= 2 * rounding * (std::abs(average[i]) + std::abs(p[i])) + p_error;
  }
  report.check(close, name + ": parameters, moments, average");
}

void CudaOpsTest::print_sampling() const {
  if (draws_ == 0) return;
  std::printf("sampled levels that differ from the CPU's: %lld of %lld draws (%.2g)\n",
              static_cast<long long>(different_draws_), static_cast<long long>(draws_),
              static_cast<double>(different_draws_) / static_cast<double>(draws_));
}

namespace {

struct NamedTest {
  const char* name;
  void (CudaOpsTest::*run)();
};
constexpr NamedTest kTests[] = {
    {"quantise", &CudaOpsTest::quantise},
    {"binarise", &CudaOpsTest::binarise},
    {"random_uniform", &CudaOpsTest::random_uniform},
    {"zero_and_next_front", &CudaOpsTest::zero_and_next_front},
    {"accumulate", &CudaOpsTest::accumulate},
    {"embedding", &CudaOpsTest::embedding},
    {"embedding_gradient", &CudaOpsTest::embedding_gradient},
    {"cast", &CudaOpsTest::cast},
    {"condition", &CudaOpsTest::condition},
    {"sum_pixels", &CudaOpsTest::sum_pixels},
    {"gate", &CudaOpsTest::gate},
    {"gate_gradient", &CudaOpsTest::gate_gradient},
    {"gradient_norm", &CudaOpsTest::gradient_norm},
    {"adam", &CudaOpsTest::adam},
    {"likelihood", &CudaOpsTest::likelihood},
    {"training", &CudaOpsTest::training},
    {"sample", &CudaOpsTest::sample},
};

int run_tests(int shapes, uint64_t seed, const std::string& only, int schedules) {
  int passed = 0, failed = 0;
  for (const NamedTest& test : kTests) {
    if (only != "all" && only != test.name) continue;
    CudaOpsTest tests(seed);
    for (int i = 0; i < shapes && tests.report.failed() == 0; ++i) {
#ifdef PIXELCNN_CUDA_EMULATOR
      emulator::options.seed = static_cast<uint64_t>(i % schedules);
#endif
      try {
        (tests.*test.run)();
      } catch (const std::exception& error) {
        tests.report.check(false, std::string(test.name) + ": " + error.what());
      }
    }
    std::printf("%s: %d passed, %d failed\n", test.name, tests.report.passed(), tests.report.failed());
    tests.print_sampling();
    passed += tests.report.passed();
    failed += tests.report.failed();
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return passed > 0 && failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // a test that is killed has said what came before
  try {
    return pixelcnn::test::run_tests(
        argc > 1 ? std::atoi(argv[1]) : 200, argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1,
        argc > 3 ? argv[3] : "all", argc > 4 ? std::max(1, std::atoi(argv[4])) : 1);
  } catch (const std::exception& error) {  // no GPU
    std::printf("FAILED %s\n", error.what());
    return 1;
  }
}
