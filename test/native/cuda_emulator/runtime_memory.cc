// Emulates device memory, page-locked host memory, and copies.
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "memory.h"
#include "runtime.h"
#include "stream.h"

namespace emulator {

namespace {

// Host memory that nobody has written; the same as in device memory.
constexpr int kUnset = 0xff;

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

enum class Place { kDevice, kPageLocked, kPageable };

struct Transfer {
  void* to;
  const void* from;
  size_t bytes;
  Place target, source;
};

cudaError_t check(const Transfer& copy) {
  const struct {
    const void* address;
    Place place;
    const char* name;
  } ends[] = {{copy.to, copy.target, "target"}, {copy.from, copy.source, "source"}};
  for (const auto& [address, place, name] : ends) {
    const char* wrong = nullptr;
    if (place == Place::kDevice) {
      if (region_of(address, copy.bytes) == nullptr) wrong = " is not all in one block of device memory";
    } else if (in_arena(address)) {
      wrong = " is device memory, but the kind says host";
    } else if (place == Place::kPageLocked && !is_page_locked(address, copy.bytes)) {
      wrong = " is page-locked memory that was released";
    }
    if (wrong != nullptr) {
      return refuse(cudaErrorInvalidValue,
                    "copy of " + std::to_string(copy.bytes) + " bytes: the " + name + wrong);
    }
  }
  return cudaSuccess;
}

// When its turn comes: what was right when it was enqueued may have been released since.
cudaError_t run_copy(const Transfer& copy) {
  const cudaError_t status = check(copy);
  if (status != cudaSuccess) return status;
  if (copy.target != Place::kDevice) {
    const size_t at = first_unwritten(copy.from, copy.bytes);
    if (at < copy.bytes) {
      return refuse(cudaErrorInvalidValue, "copy to the host of " + find_region(copy.from)->name + ", byte " +
                                               std::to_string(at) + " of " + std::to_string(copy.bytes) +
                                               " was never written");
    }
  }
  std::memmove(copy.to, copy.from, copy.bytes);
  if (copy.target != Place::kDevice) return cudaSuccess;
  if (copy.source == Place::kDevice)
    copy_written(copy.to, copy.from, copy.bytes);
  else
    set_written(copy.to, copy.bytes, true);
  return cudaSuccess;
}

cudaError_t enqueue_copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const auto place = [&](const void* address, bool device) {
    if (device) return Place::kDevice;
    return is_page_locked(address, bytes) ? Place::kPageLocked : Place::kPageable;
  };
  const Transfer copy{to, from, bytes, place(to, kind != cudaMemcpyDeviceToHost),
                      place(from, kind != cudaMemcpyHostToDevice)};
  cudaError_t status = check(copy);
  if (status != cudaSuccess) return status;
  const bool from_pageable = copy.source == Place::kPageable, to_pageable = copy.target == Place::kPageable;
  if (captures(stream) && (from_pageable || to_pageable)) {
    stream->capture->spoiled = true;
    return refuse(cudaErrorStreamCaptureUnsupported,
                  std::string("copy whose ") + (from_pageable ? "source" : "target") +
                      " is pageable host memory, while the stream captures");
  }
  if (from_pageable) {  // the driver takes it to memory of its own before it returns
    const auto* const first = static_cast<const char*>(from);
    const auto staged = std::make_shared<const std::vector<char>>(first, first + bytes);
    return enqueue(stream, {{[=] {
                     Transfer staged_copy = copy;
                     staged_copy.from = staged->data();
                     return run_copy(staged_copy);
                   }}});
  }
  status = enqueue(stream, {{[=] { return run_copy(copy); }}});
  if (status == cudaSuccess && to_pageable) finish(stream);
  return status;
}

cudaError_t enqueue_fill(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (region_of(to, bytes) == nullptr) {
    return refuse(cudaErrorInvalidValue, "memset of " + std::to_string(bytes) +
                                             " bytes that are not all in one block of device memory");
  }
  return enqueue(stream, {{[=] {
                   if (region_of(to, bytes) == nullptr) {
                     return refuse(cudaErrorInvalidValue, "memset of device memory that was released");
                   }
                   std::memset(to, value, bytes);
                   set_written(to, bytes, true);
                   return cudaSuccess;
                 }}});
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
    emulator::run_all();
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
    std::memset(*memory, emulator::kUnset, bytes);
    emulator::memory().page_locked.insert_or_assign(
        static_cast<const char*>(*memory),
        emulator::PageLocked{std::unique_ptr<void, emulator::Free>(*memory), bytes});
    return cudaSuccess;
  });
}

cudaError_t cudaFreeHost(void* memory) {
  return call(__func__, InCapture::kUnsafe, [&] {
    if (memory == nullptr) return cudaSuccess;
    auto& all = emulator::memory().page_locked;
    const auto block = all.find(static_cast<const char*>(memory));
    if (block == all.end()) return cudaErrorInvalidValue;
    emulator::run_all();
    std::memset(memory, emulator::kUnset, block->second.bytes);
    all.erase(block);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return call(__func__, InCapture::kAllowed,
              [&] { return emulator::enqueue_copy(to, from, bytes, kind, stream); });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call(__func__, InCapture::kForbidden, [&] {
    const cudaError_t status = emulator::enqueue_copy(to, from, bytes, kind, nullptr);
    if (status == cudaSuccess && kind != cudaMemcpyDeviceToDevice) emulator::finish(nullptr);
    return status;
  });
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
  emulator::forget_work();
  auto& all = emulator::memory();
  for (const auto& [base, region] : all.blocks) emulator::release_region(*region);
  all.blocks.clear();
  all.used = 0;
  emulator::runtime().shared_bytes.clear();
  emulator::runtime().sticky = emulator::runtime().explained = emulator::last_error = cudaSuccess;
  return cudaSuccess;
}
