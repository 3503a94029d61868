// Tests the gate on the CPU: its values, its gradient, and that a region has the bits of the whole image.
#include "kernels_fixture.h"

namespace pixelcnn::test {

void KernelsTest::gate() {
  const int n = random_.integer(1, 3), h = random_.integer(1, 9), w = random_.integer(1, 9);
  const int c = random_.integer(1, 70), groups = random_.integer(1, std::min(3, c));
  const int64_t gates = int64_t{n} * h * w * c;
  Activations x = activations(2 * gates), grad_y = activations(gates), y = activations(gates),
              grad_x = activations(2 * gates);
  random_.fill(x, random_.chance(0.3), random_.chance(0.5) ? 1.0f : 10.0f);
  random_.fill(grad_y, false);
  const std::string name = "gate of " + std::to_string(gates);
  run_op(GatedActivation{x, nullptr, y, n, h, w, c, groups, precision_, {}}, random_.integer(1, 3), name);
  run_op(GatedActivationBackward{x, grad_y, grad_x, static_cast<int32_t>(gates), precision_},
         random_.integer(1, 3), name);
  const reference::Gate expected = reference::gate(x.floats(), grad_y.floats(), gates);
  // Far from 0 a value is tiny, and must still be right relative to itself.
  bool right = y.guards_intact() && grad_x.guards_intact();
  const auto near = [&](double value, double wanted) {
    const double rounding = is_bf16() ? half_step_of_bf16(wanted) : 0;
    return std::abs(value - wanted) <= rounding + 2e-6 * std::abs(wanted) + 1e-37;
  };
  for (int64_t i = 0; i < gates; ++i) right &= near(y[i], expected.y[i]);
  for (int64_t i = 0; i < 2 * gates; ++i) right &= near(grad_x[i], expected.grad_x[i]);
  report.check(right, "values of the " + name);

  Region region = {random_.chance(0.5) ? Region::Pixels::kRow : Region::Pixels::kFront, random_.integer(0, 3),
                   random_.integer(1, w + 2)};
  Activations x_padded = pad_image(x, region, n, h, w, 2 * c);
  Activations y_padded = activations(region.count(n, h, w) * c);
  Activations wanted = y_padded;
  const bool by_group = random_.chance(0.5);
  for (int32_t t = -1; t < w + region.slope * (h - 1) + 1; ++t) {
    for (int group = 0; group < (by_group ? groups : 1); ++group) {
      region.group = by_group ? group : Region::kAllGroups;
      run_op(GatedActivation{x_padded, &t, y_padded, n, h, w, c, groups, precision_, region},
             random_.integer(1, 3), "region of the " + name);
    }
  }
  copy_rows(y, region, n, h, w, c, wanted);
  report.check(y_padded.same_bits(wanted) && y_padded.guards_intact(), "bits of the whole image: " + name);
}

}  // namespace pixelcnn::test
