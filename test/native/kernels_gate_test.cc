// Tests the gate on the CPU: its values, its gradient, and that a region has the bits of the whole image.
#include "kernels_fixture.h"

namespace pixelcnn::test {

void KernelsTest::gate() {
  const int n = random_.integer(1, 3), h = random_.integer(1, 9), w = random_.integer(1, 9);
  const int c = random_.integer(1, 70), groups = random_.integer(1, std::min(3, c));
  const int64_t gates = int64_t{n} * h * w * c;
  const bool conditional = random_.chance(0.6);
  const int per_pixel = conditional && random_.chance(0.4);
  Activations x = activations(2 * gates), grad_y = activations(gates), y = activations(gates),
              grad_x = activations(2 * gates);
  Activations condition = activations(condition_rows(per_pixel, n, h, w) * 2 * c);
  random_.fill(x, random_.chance(0.3), random_.chance(0.5) ? 1.0f : 10.0f);
  random_.fill(grad_y, false);
  random_.fill(condition, random_.chance(0.3));
  const void* added = conditional ? condition.at(0) : nullptr;
  const std::string name = "gate of " + std::to_string(gates) +
                           (!conditional ? ""
                            : per_pixel  ? " given a map"
                                         : " given a vector");
  run_op(GatedActivation{x, added, nullptr, y, n, h, w, c, groups, per_pixel, precision_, {}},
         random_.integer(1, 3), name);
  run_op(GatedActivationBackward{x, added, grad_y, grad_x, n, h, w, c, per_pixel, precision_},
         random_.integer(1, 3), name);
  Buffer<float> sum = x.floats();
  for (int64_t i = 0; conditional && i < 2 * gates; ++i)
    sum[i] += condition[condition_index(per_pixel, i, h, w, 2 * c)];
  const reference::Gate expected = reference::gate(sum, grad_y.floats(), gates);
  // Far from 0 a value is tiny, and must still be right relative to itself.
  bool right = y.guards_intact() && grad_x.guards_intact();
  const auto near = [&](double value, double wanted) {
    const double rounding = is_bf16() ? half_step_of_bf16(wanted) : 0;
    return std::abs(value - wanted) <= rounding + 2e-6 * std::abs(wanted) + 1e-37;
  };
  for (int64_t i = 0; i < gates; ++i) right &= near(y[i], expected.y[i]);
  for (int64_t i = 0; i < 2 * gates; ++i) right &= near(grad_x[i], expected.grad_x[i]);
  report.check(right, "values of the " + name);

  check_region(
      x, 2 * c, y, c, n, h, w, groups, name,
      [&](Activations& x_in, const int32_t* t, Activations& y_out, const Region& region) {
        run_op(GatedActivation{x_in, added, t, y_out, n, h, w, c, groups, per_pixel, precision_, region},
               random_.integer(1, 3), "region of the " + name);
      });
}

}  // namespace pixelcnn::test
