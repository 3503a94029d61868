// Implements the CPU backend: it allocates memory, owns a pool of threads, and calls the kernels that suit
// this processor.
#include "backend.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "../error.h"
#include "kernels.h"
#include "processor.h"
#include "thread_pool.h"

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>  // its macros do nothing in builds without AddressSanitizer
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes)
#endif

namespace pixelcnn::cpu {

namespace {

constexpr int64_t kAlignment = 256;

// The precision of an op's activations. An op without activations runs in float32.
template <class Op>
constexpr Precision precision_of(const Op& op) {
  if constexpr (requires { op.precision; })
    return op.precision;
  else if constexpr (requires { op.shape.precision; })
    return op.shape.precision;
  else if constexpr (requires { op.filters; })
    return op.filters[0].shape.precision;
  else
    return Precision::kF32;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Kernels& kernels, int threads)
      : f32_(kernels), bf16_(bf16_kernels(kernels)), pool_(std::make_unique<ThreadPool>(threads)) {
    info_ = {"cpu", processor_name(), kernels.isa, threads, "", kSumsVersion};
  }
  ~CpuBackend() override { std::free(workspace_); }

  const BackendInfo& info() const override { return info_; }
  bool supports(Precision precision) const override {
    return precision == Precision::kF32 || (precision == Precision::kBf16 && bf16_ != nullptr);
  }

  void* allocate(int64_t bytes) override {
    // calloc takes large blocks as zero pages from the system, so memory that is never touched costs
    // nothing.
    auto* block =
        static_cast<std::byte*>(std::calloc(1, static_cast<size_t>(bytes + kAlignment + sizeof(void*))));
    PIXELCNN_CHECK(block != nullptr, "ERR_OUT_OF_MEMORY",
                   "could not allocate " + std::to_string(bytes) + " bytes of memory");
    const auto start = reinterpret_cast<uintptr_t>(block) + sizeof(void*);
    auto* aligned =
        block + ((start + kAlignment - 1) / kAlignment * kAlignment - reinterpret_cast<uintptr_t>(block));
    std::memcpy(aligned - sizeof(void*), &block, sizeof(void*));
    // The space that alignment left behind the block counts as out of bounds too.
    ASAN_POISON_MEMORY_REGION(aligned + bytes,
                              static_cast<size_t>(block + kAlignment + sizeof(void*) - aligned));
    return aligned;
  }
  void release(void* memory) override {
    void* block;
    std::memcpy(&block, static_cast<std::byte*>(memory) - sizeof(void*), sizeof(void*));
    std::free(block);
  }
  void write(void* device, const void* host, int64_t bytes) override {
    if (bytes > 0)
      std::memcpy(device, host, static_cast<size_t>(bytes));  // the pointers may be null if bytes is 0
  }
  void read(void* host, const void* device, int64_t bytes) override {
    if (bytes > 0) std::memcpy(host, device, static_cast<size_t>(bytes));
  }
  void reserve_workspace(int64_t bytes) override {
    if (bytes <= workspace_bytes_) return;
    std::free(workspace_);
    workspace_bytes_ = 0;
    workspace_ = static_cast<std::byte*>(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)));
    PIXELCNN_CHECK(workspace_ != nullptr, "ERR_OUT_OF_MEMORY",
                   "could not allocate a workspace of " + std::to_string(bytes) + " bytes");
    workspace_bytes_ = bytes;
  }
  void close() override {
    pool_.reset();
    std::free(std::exchange(workspace_, nullptr));
    workspace_bytes_ = 0;
  }

  int64_t packed_bytes(const FilterShape& shape, Direction direction) const override {
    return kernels(shape.precision).packed_bytes(shape, direction);
  }
  bool packs_once() const override { return false; }

#define PIXELCNN_X(Op)                                                  \
  int64_t workspace(const Op& op) override {                            \
    return kernels(precision_of(op)).workspace_##Op(op, info_.threads); \
  }                                                                     \
  void run(const Op& op) override {                                     \
    Context context{*pool_, workspace_};                                \
    kernels(precision_of(op)).run_##Op(op, context);                    \
  }
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

 private:
  // The decoder runs no op in a precision that `supports` does not name, but packed_bytes may be asked about
  // it.
  const Kernels& kernels(Precision precision) const {
    return precision == Precision::kBf16 && bf16_ != nullptr ? *bf16_ : f32_;
  }

  const Kernels& f32_;
  const Kernels* bf16_;  // or null
  std::unique_ptr<ThreadPool> pool_;
  BackendInfo info_;
  std::byte* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
};

}  // namespace

std::shared_ptr<Backend> open_backend(int threads, const std::string& instruction_set) {
  const Kernels* table = cpu::kernels(instruction_set.empty() ? nullptr : instruction_set.c_str());
  PIXELCNN_CHECK(
      table != nullptr, "ERR_BACKEND_UNAVAILABLE",
      "this processor or this build has no CPU kernels for the instruction set '" + instruction_set + "'");
  return std::make_shared<CpuBackend>(*table, threads > 0 ? threads : usable_processors());
}

}  // namespace pixelcnn::cpu
