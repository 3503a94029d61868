// Divides indices by a divisor that is known at the launch, with one multiplication and one shift.
#pragma once
#include "gpu.h"

namespace pixelcnn::cuda {

// Computes n / divisor for n < 2^31 (Granlund & Montgomery 1994, "Division by invariant integers using
// multiplication").
class Divider {
 public:
  explicit Divider(int32_t divisor) : divisor_(static_cast<uint32_t>(divisor)) {
    while ((uint64_t{1} << shift_) < divisor_) ++shift_;
    multiplier_ =
        static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift_) - divisor_)) / divisor_ + 1);
  }
  __device__ int quotient(int n) const {
    const auto dividend = static_cast<uint32_t>(n);
    return static_cast<int>((__umulhi(dividend, multiplier_) + dividend) >> shift_);
  }
  // Returns the quotient and sets n to the remainder.
  __device__ int divide(int& n) const {
    const int result = quotient(n);
    n -= result * static_cast<int>(divisor_);
    return result;
  }

 private:
  uint32_t divisor_, multiplier_, shift_ = 0;
};

}  // namespace pixelcnn::cuda
