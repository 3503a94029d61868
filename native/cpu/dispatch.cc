// Chooses the kernel table of an instruction set that both this build and this processor support.
#include <cstring>

#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "kernels.h"

namespace pixelcnn::cpu {

#define PIXELCNN_DECLARE(isa) \
  namespace isa {             \
  extern const Kernels table; \
  }
#ifdef PIXELCNN_HAS_AVX512
PIXELCNN_DECLARE(avx512)
#endif
#ifdef PIXELCNN_HAS_AVX512_BF16
PIXELCNN_DECLARE(avx512_bf16)
#endif
#ifdef PIXELCNN_HAS_AVX2
PIXELCNN_DECLARE(avx2)
#endif
#ifdef PIXELCNN_HAS_NEON
PIXELCNN_DECLARE(neon)
#endif
#ifdef PIXELCNN_HAS_NEON_BF16
PIXELCNN_DECLARE(neon_bf16)
#endif
#ifdef PIXELCNN_HAS_BASELINE
PIXELCNN_DECLARE(baseline)
#endif
#undef PIXELCNN_DECLARE

const Kernels* kernels(const char* isa) {
  const auto wanted = [&](const char* name) { return isa == nullptr || std::strcmp(isa, name) == 0; };
  // From the best instruction set to the simplest.
#ifdef PIXELCNN_HAS_AVX512
  if (wanted("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("fma")) {
    return &avx512::table;
  }
#endif
#ifdef PIXELCNN_HAS_AVX2
  if (wanted("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2::table;
#endif
#ifdef PIXELCNN_HAS_NEON
  if (wanted("neon")) return &neon::table;
#endif
#ifdef PIXELCNN_HAS_BASELINE
  if (wanted("baseline")) return &baseline::table;
#endif
  return nullptr;
}

const Kernels* bf16_kernels([[maybe_unused]] const Kernels& f32) {
#if defined(PIXELCNN_HAS_AVX512) && defined(PIXELCNN_HAS_AVX512_BF16)
  if (&f32 == &avx512::table && __builtin_cpu_supports("avx512bf16")) return &avx512_bf16::table;
#endif
#if defined(PIXELCNN_HAS_NEON) && defined(PIXELCNN_HAS_NEON_BF16) && defined(__linux__)
  constexpr unsigned long kHasBf16 = 1ul << 14;  // HWCAP2_BF16, which older headers lack
  if (&f32 == &neon::table && (getauxval(AT_HWCAP2) & kHasBf16) != 0) return &neon_bf16::table;
#endif
  return nullptr;
}

}  // namespace pixelcnn::cpu
