// Compares lists of filters that the CUDA kernel packs with a plain loop: every bit, which weights are
// read, and which bytes are written. Compares lists that the CPU packs with its filters packed one by one.
//   cuda_masked_conv2d_pack_test [lists of each precision=200] [seed=1] [schedule=0]
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>

#include "cuda_fixture.h"
#include "kernels_reference.h"

namespace pixelcnn::test {
namespace {

using Bytes = std::vector<std::byte>;

// Small shapes mostly; sometimes an output with more weights than its blocks pack in one round.
FilterShape random_filter(Random& random, Precision precision) {
  for (;;) {
    const bool large = random.chance(0.01);
    const int sizes[] = {1, 2, 3, 5, 8, 31, 32, 33, 40, 64, 65};
    const auto channels = [&] { return sizes[random.integer(0, 10)]; };
    const int pairs = random.chance(0.3);
    const int c = large ? random.integer(100, 2500) : channels(),
              k = (large ? 1 : channels()) * (pairs ? 2 : 1);
    const int kernel =
        random.chance(large ? 0.5 : 0.1) ? 2 * random.integer(4, 15) + 1 : 2 * random.integer(0, 3) + 1;
    const int groups = random.chance(0.5) ? 1 : random.integer(1, 9);
    const OwnRow own_row = random.chance(0.5) ? OwnRow::kLeft : OwnRow::kCentre;
    const Window window = random.chance(0.5) ? masked_square(kernel, own_row) : random_window(random);
    const FilterShape shape = {c,         k,    window, groups, static_cast<Algorithm>(random.integer(0, 2)),
                               precision, pairs};
    if (groups <= c && groups <= (pairs ? k / 2 : k) && shape.weight_count() < (large ? 400'000 : 20'000))
      return shape;
  }
}

struct Filter {
  FilterShape shape;
  Direction direction;
  std::vector<float> weight;  // NaN under the mask

  Filter(Random& random, Precision precision)
      : shape(random_filter(random, precision)),
        direction(static_cast<Direction>(random.integer(0, 1))),
        weight(shape.weight_count(), NAN) {
    for_each_live([&](int64_t from, int64_t) {
      // Among them what a precision rounds to a subnormal, to nothing and to infinity.
      const float scales[] = {1, 1, 0x1p-20f, 0x1p-140f, 0x1p40f};
      weight[from] = random.normal() * scales[random.integer(0, 4)];
    });
  }

  int64_t packed_count() const { return packed_bytes() / element_bytes(shape.precision); }
  int64_t packed_bytes() const { return cuda::packed_bytes(shape, direction); }

  // Calls body(index in the weights, index in [K][slots][C]) for every weight that the mask lets through.
  template <class Body>
  void for_each_live(const Body& body) const {
    const Window& window = shape.window;
    const int slots = (window.above + 1) * window.columns;
    for (int k = 0; k < shape.k; ++k) {
      for (int c = 0; c < shape.c; ++c) {
        for (int slot = 0; slot < slots; ++slot) {
          if (!reference::live(shape, k, c, slot / window.columns, slot % window.columns)) continue;
          body((int64_t{k} * shape.c + c) * window.weights() + slot,
               (int64_t{k} * slots + slot) * shape.c + c);
        }
      }
    }
  }
  Bytes expected() const {
    std::vector<float> values(packed_count());
    for_each_live([&](int64_t from, int64_t to) { values[to] = weight[from]; });
    return to_storage(values, shape.precision);
  }
  // On the device, where only what the mask lets through is ever written: the emulator tells of other reads.
  std::unique_ptr<DeviceBuffer<float>> on_device() const {
    auto buffer = std::make_unique<DeviceBuffer<float>>(shape.weight_count());
    int64_t begin = 0, end = 0;  // neighbours that are not yet copied
    const auto flush = [&] {
      if (end > begin)
        PIXELCNN_CUDA(cudaMemcpy(*buffer + begin, weight.data() + begin, (end - begin) * sizeof(float),
                                 cudaMemcpyHostToDevice));
    };
    for_each_live([&](int64_t from, int64_t) {
      if (from != end) flush(), begin = from;
      end = from + 1;
    });
    flush();
    return buffer;
  }
};

std::vector<Filter> random_filters(Random& random, Precision precision) {
  const int most = MaskedConv2dPack::kMostFilters;
  const int count = random.chance(0.1) ? most : random.chance(0.3) ? 1 : random.integer(2, 9);
  std::vector<Filter> filters;
  for (int i = 0; i < count; ++i) filters.emplace_back(random, precision);
  return filters;
}

std::string describe(const std::vector<Filter>& filters) {
  std::string text = std::to_string(filters.size()) + " filters in " + name_of(filters[0].shape.precision);
  for (const Filter& filter : filters) text += "\n    " + test::describe(filter.shape);
  return text;
}

// All packed filters lie in one block of memory with space between them, as in an arena, so that one that is
// written where its neighbour should be shows too.
void pack_list_on_device(Random& random, Precision precision, Report& report) {
  const std::vector<Filter> filters = random_filters(random, precision);
  MaskedConv2dPack op{.filters = {}, .count = static_cast<int32_t>(filters.size())};
  std::vector<std::unique_ptr<DeviceBuffer<float>>> weights;
  std::vector<int64_t> places;
  int64_t bytes = 256 * random.integer(0, 2);
  for (const Filter& filter : filters) {
    places.push_back(bytes);
    bytes += (filter.packed_bytes() + 255) / 256 * 256 + 256 * random.integer(0, 2);
  }
  const std::byte untouched{0x5a};
  Bytes expected(bytes, untouched);
  const DeviceBuffer<std::byte> packed(expected);
  for (size_t i = 0; i < filters.size(); ++i) {
    const Bytes filter = filters[i].expected();
    std::copy(filter.begin(), filter.end(), expected.begin() + places[i]);
    weights.push_back(filters[i].on_device());
    op.filters[i] = {*weights[i], packed + places[i], filters[i].shape, filters[i].direction};
  }

#ifdef PIXELCNN_CUDA_EMULATOR
  emulator::options.failing_launch = 1000;  // counts down
#endif
  run_on_device(op, test_gpu());
#ifdef PIXELCNN_CUDA_EMULATOR
  report.check(emulator::options.failing_launch == 999, "pack in one launch: " + describe(filters));
  emulator::options.failing_launch = 0;
#endif

  const Bytes result = packed.read();
  for (size_t i = 0; i < filters.size(); ++i) {
    const auto part = [&](const Bytes& all) {
      return Bytes(all.begin() + places[i], all.begin() + places[i] + filters[i].packed_bytes());
    };
    report.check(same_bits(part(result), part(expected)),
                 "pack, filter " + std::to_string(i) + " of " + describe(filters));
  }
  report.check(same_bits(result, expected), "pack and nothing else: " + describe(filters));
}

void pack_list_on_cpu(Random& random, Report& report) {
  const std::vector<Filter> filters = random_filters(random, Precision::kF32);
  MaskedConv2dPack op{.filters = {}, .count = static_cast<int32_t>(filters.size())};
  std::vector<Buffer<std::byte>> packed;
  for (const Filter& filter : filters)
    packed.emplace_back(cpu::kernels(nullptr)->packed_bytes(filter.shape, filter.direction));
  for (size_t i = 0; i < filters.size(); ++i)
    op.filters[i] = {filters[i].weight.data(), packed[i].data(), filters[i].shape, filters[i].direction};
  run_on_cpu(op);
  for (size_t i = 0; i < filters.size(); ++i) {
    // Not pack_on_cpu, whose memory begins otherwise: padding is left as it is.
    Buffer<std::byte> alone(packed[i].count());
    FilterPack filter = op.filters[i];
    filter.packed = alone.data();
    run_on_cpu(MaskedConv2dPack{{filter}, 1});
    report.check(packed[i].same_bits(alone) && packed[i].guards_intact(),
                 "pack on the CPU, filter " + std::to_string(i) + " of " + describe(filters));
  }
}

int run_tests(int lists, uint64_t seed) {
  Random random(seed);
  Report report;
  for (int i = 0; i < 4 * lists; ++i) {
    try {
      pack_list_on_device(random, static_cast<Precision>(i % 4), report);
      if (i % 4 == 0) pack_list_on_cpu(random, report);
    } catch (const std::exception& error) {
      report.check(false, std::string("pack: ") + error.what());
      return 1;  // the device is lost
    }
  }
  std::printf("%d passed, %d failed\n", report.passed(), report.failed());
  return report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // a test that is killed has said what came before
#ifdef PIXELCNN_CUDA_EMULATOR
  emulator::options.seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;
#endif
  return pixelcnn::test::run_tests(argc > 1 ? std::atoi(argv[1]) : 200,
                                   argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
}
