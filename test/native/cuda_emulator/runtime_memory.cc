// Device memory, page-locked host memory, and copies.
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>

#include "memory.h"
#include "runtime.h"
#include "stream.h"

namespace emulator {

namespace {

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
struct PageLocked {
  std::unique_ptr<void, Free> memory;
  size_t bytes;
};

struct Memory {
  std::map<void*, Region*> blocks;
  size_t used = 0;
  int made = 0;
  std::map<const char*, PageLocked> page_locked;
};

Memory& memory() {
  static Memory* const instance = std::make_unique<Memory>().release();
  return *instance;
}

bool is_page_locked(const void* address, size_t bytes) {
  const char* const p = static_cast<const char*>(address);
  auto after = memory().page_locked.upper_bound(p);
  if (after == memory().page_locked.begin()) return false;
  --after;
  return p + bytes <= after->first + after->second.bytes;
}

cudaError_t copy(void* to, const void* from, size_t bytes, bool to_device, bool from_device) {
  if (from_device && !to_device) {
    const size_t at = first_unwritten(from, bytes);
    if (at < bytes) {
      return refuse(cudaErrorInvalidValue, "copy to the host of " + find_region(from)->name + ", byte " +
                                               std::to_string(at) + " of " + std::to_string(bytes) +
                                               " was never written");
    }
  }
  std::memmove(to, from, bytes);
  if (to_device && from_device) copy_written(to, from, bytes);
  if (to_device && !from_device) set_written(to, bytes, true);
  return cudaSuccess;
}

cudaError_t enqueue_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
  for (const auto& [address, device, name] :
       {std::tuple<const void*, bool, const char*>{to, to_device, "target"}, {from, from_device, "source"}}) {
    if (device ? region_of(address, bytes) == nullptr : in_arena(address)) {
      return refuse(cudaErrorInvalidValue, "copy of " + std::to_string(bytes) + " bytes: the " + name +
                                               (device ? " is not all in one block of device memory"
                                                       : " is device memory, but the kind says host"));
    }
    if (!device && captures(stream) && !is_page_locked(address, bytes)) {
      stream->capture->spoiled = true;
      return refuse(
          cudaErrorStreamCaptureUnsupported,
          std::string("copy whose ") + name + " is pageable host memory, while the stream captures");
    }
  }
  return enqueue(stream, {[=] { return copy(to, from, bytes, to_device, from_device); }});
}

cudaError_t enqueue_fill(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (region_of(to, bytes) == nullptr) {
    return refuse(cudaErrorInvalidValue, "memset of " + std::to_string(bytes) +
                                             " bytes that are not all in one block of device memory");
  }
  return enqueue(stream, {[=] {
                   std::memset(to, value, bytes);
                   set_written(to, bytes, true);
                   return cudaSuccess;
                 }});
}

}  // namespace

void name_memory(const void* memory, const char* name) {
  std::lock_guard lock(runtime().mutex);
  if (Region* const region = find_region(memory)) region->name = name;
}

}  // namespace emulator

using emulator::call;
using emulator::InCapture;
using emulator::refuse;

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return call(__func__, InCapture::kUnsafe, [&] {
    auto& all = emulator::memory();
    *memory = nullptr;
    if (bytes == 0) return cudaSuccess;
    if (bytes > emulator::options.memory_bytes - all.used) {
      return refuse(cudaErrorMemoryAllocation, std::to_string(bytes) + " bytes");
    }
    auto* const region =
        emulator::allocate_region(bytes, "allocation " + std::to_string(++all.made), nullptr);
    if (region == nullptr) return cudaErrorMemoryAllocation;
    all.blocks.emplace(region->base, region);
    all.used += bytes;
    *memory = region->base;
    return cudaSuccess;
  });
}

cudaError_t cudaFree(void* memory) {
  return call(__func__, InCapture::kUnsafe, [&] {
    auto& all = emulator::memory();
    if (memory == nullptr) return cudaSuccess;
    const auto block = all.blocks.find(memory);
    if (block == all.blocks.end()) {
      return refuse(cudaErrorInvalidValue, "what is freed was not allocated, or freed before");
    }
    all.used -= block->second->bytes;
    emulator::release_region(*block->second);
    all.blocks.erase(block);
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call(__func__, InCapture::kAllowed, [&] {
    *total = emulator::options.memory_bytes;
    *free = *total - emulator::memory().used;
    return cudaSuccess;
  });
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  return call(__func__, InCapture::kUnsafe, [&] {
    constexpr size_t kPage = 4096;
    *memory = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
    if (*memory == nullptr) return cudaErrorMemoryAllocation;
    emulator::memory().page_locked.insert_or_assign(
        static_cast<const char*>(*memory),
        emulator::PageLocked{std::unique_ptr<void, emulator::Free>(*memory), bytes});
    return cudaSuccess;
  });
}

cudaError_t cudaFreeHost(void* memory) {
  return call(__func__, InCapture::kUnsafe, [&] {
    if (memory == nullptr) return cudaSuccess;
    return emulator::memory().page_locked.erase(static_cast<const char*>(memory)) == 1
               ? cudaSuccess
               : cudaErrorInvalidValue;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed,
              [&] { return emulator::enqueue_copy(to, from, bytes, kind, stream); });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call(__func__, InCapture::kForbidden,
              [&] { return emulator::enqueue_copy(to, from, bytes, kind, nullptr); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed,
              [&] { return emulator::enqueue_fill(memory, value, bytes, stream); });
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return call(__func__, InCapture::kForbidden,
              [&] { return emulator::enqueue_fill(memory, value, bytes, nullptr); });
}

// Everything that was allocated goes, and a sticky error with it.
cudaError_t cudaDeviceReset() {
  std::lock_guard lock(emulator::runtime().mutex);
  auto& all = emulator::memory();
  for (const auto& [base, region] : all.blocks) emulator::release_region(*region);
  all.blocks.clear();
  all.used = 0;
  emulator::runtime().shared_bytes.clear();
  emulator::runtime().sticky = emulator::runtime().explained = emulator::last_error = cudaSuccess;
  return cudaSuccess;
}
