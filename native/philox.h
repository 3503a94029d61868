// Implements Philox4x32-10, the counter-based random generator of Salmon et al. 2011 ("Parallel random
// numbers: as easy as 1, 2, 3").
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define PIXELCNN_HOST_DEVICE __host__ __device__
#else
#define PIXELCNN_HOST_DEVICE
#endif

namespace pixelcnn {

struct PhiloxWords {
  uint32_t word[4];
};

// The functions are static, because each instruction set and the CUDA kernels compile their own copy.
static PIXELCNN_HOST_DEVICE inline PhiloxWords philox(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {
        {static_cast<uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return counter;
}

// Returns a uniform number in [0, 1) with 24 bits.
static PIXELCNN_HOST_DEVICE inline float uniform(uint32_t word) {
  return static_cast<float>(word >> 8) * 0x1p-24f;
}

}  // namespace pixelcnn
