// Tests on the CPU what makes, adds and differentiates conditions: embeddings, casts, sums with activations
// and sums over pixels.
#include "kernels_fixture.h"

namespace pixelcnn::test {

void KernelsTest::condition() {
  const int n = random_.integer(1, 3), h = random_.integer(1, 9), w = random_.integer(1, 9);
  const int c = random_.chance(0.1) ? random_.integer(300, 2100) : random_.integer(1, 70);
  const int groups = random_.integer(1, std::min(3, c));
  const int per_pixel = random_.chance(0.4), relu = random_.chance(0.5);
  const int64_t count = int64_t{n} * h * w * c;
  Activations x = activations(count), y = activations(count);
  Activations condition = activations(condition_rows(per_pixel, n, h, w) * c);
  random_.fill(x, false), random_.fill(condition, false);
  x.set(0, NAN);  // the ReLU keeps it
  const std::string name = "sum of " + std::to_string(count) + " and " + (per_pixel ? "a map" : "a vector");
  run_op(AddCondition{x, condition, nullptr, y, n, h, w, c, groups, per_pixel, relu, precision_, {}},
         random_.integer(1, 3), name);
  bool right = y.guards_intact() && std::isnan(y[0]);
  for (int64_t i = 1; i < count; ++i) {
    const float sum = x[i] + condition[condition_index(per_pixel, i, h, w, c)];
    right &= y[i] == (relu && sum < 0 ? 0 : rounded(sum));
  }
  report.check(right, "values of the " + name);
  check_region(x, c, y, c, n, h, w, groups, name,
               [&](Activations& x_in, const int32_t* t, Activations& y_out, const Region& region) {
                 run_op(AddCondition{x_in, condition, t, y_out, n, h, w, c, groups, per_pixel, relu,
                                     precision_, region},
                        random_.integer(1, 3), "region of the " + name);
               });
}

void KernelsTest::sum_pixels() {
  const int n = random_.integer(1, 5), pixels = random_.integer(1, 300), c = random_.integer(1, 150);
  Activations x = activations(int64_t{n} * pixels * c);
  const bool integers = random_.chance(0.3);
  random_.fill(x, integers);
  const std::string name =
      "sum of " + std::to_string(pixels) + " pixels of " + std::to_string(c) + " channels";
  reference::Doubles expected(int64_t{n} * c);
  for (int64_t i = 0; i < x.count(); ++i) expected[i / (int64_t{pixels} * c) * c + i % c] += x[i];
  Activations first = activations(int64_t{n} * c);
  for (int threads = 1; threads <= 3; ++threads) {
    Activations y = activations(int64_t{n} * c);
    run_op(SumPixels{x, y, n, pixels, c, precision_}, threads, name);
    if (threads == 1) first = y;
    report.check(y.guards_intact() && y.same_bits(first), "bits with any number of threads: " + name);
  }
  check_activations(first, expected, integers, 0, name, report.worst_direct);
  x.set(x.count() - 1, NAN);
  Activations y = activations(int64_t{n} * c);
  run_op(SumPixels{x, y, n, pixels, c, precision_}, 2, name);
  bool contained = std::isnan(y[y.count() - 1]);
  for (int64_t i = 0; i + 1 < y.count(); ++i) contained &= y[i] == first[i];
  report.check(contained, "NaN stays in its channel: " + name);
}

void KernelsTest::embedding() {
  const int count = random_.integer(1, 60), rows = random_.integer(1, 20), size = random_.integer(1, 150);
  Buffer<float> table(int64_t{rows} * size);
  random_.fill(table, false);
  Buffer<uint32_t> index(count);
  // An index beyond the table takes the last row.
  for (int i = 0; i < count; ++i)
    index[i] = random_.chance(0.05) ? 0xffffffffu : static_cast<uint32_t>(random_.integer(0, rows));
  const auto row = [&](int i) { return std::min<int64_t>(index[i], rows - 1); };
  const std::string name = "embedding of " + std::to_string(count) + " in " + std::to_string(rows) + " rows";
  Activations y = activations(int64_t{count} * size), grad_y = activations(int64_t{count} * size);
  random_.fill(grad_y, false);
  run_op(Embedding{table, index, y, count, rows, size, precision_}, random_.integer(1, 3), name);
  Buffer<float> grad_table(table.count()), expected(table.count());
  run_op(EmbeddingBackward{index, grad_y, grad_table, count, rows, size, precision_}, random_.integer(1, 3),
         name);
  bool right = y.guards_intact() && grad_table.guards_intact();
  for (int64_t i = 0; i < expected.count(); ++i) expected[i] = 0;
  for (int i = 0; i < count; ++i) {
    for (int column = 0; column < size; ++column) {
      const int64_t at = int64_t{i} * size + column, in_table = row(i) * size + column;
      right &= y[at] == rounded(table[in_table]);
      expected[in_table] += grad_y[at];
    }
  }
  report.check(right, "values of the " + name);
  report.check(grad_table.same_bits(expected), "gradients in the order of the indices: " + name);
}

void KernelsTest::cast() {
  Buffer<float> x(random_.integer(1, 40000));
  random_.fill(x, false);
  Activations y = activations(x.count());
  run_op(Cast{x, y, static_cast<int32_t>(x.count()), precision_}, random_.integer(1, 3), "cast");
  bool right = y.guards_intact();
  for (int64_t i = 0; i < x.count(); ++i) right &= y[i] == rounded(x[i]);
  report.check(right, "Cast of " + std::to_string(x.count()));
}

}  // namespace pixelcnn::test
