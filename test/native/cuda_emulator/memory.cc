// Allocates regions of emulated memory from one range of addresses, so that a pointer reveals what it
// points to.
#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

#include "emulator.h"

namespace emulator {

namespace {

constexpr size_t kPage = 4096, kArenaBytes = size_t{32} << 30, kLarge = size_t{1} << 20;
constexpr unsigned char kGuard = 0xa5, kPoison = 0xff;

struct Arena {
  char* base;
  Region** owner;       // of each page
  size_t used = kPage;  // a guard comes first
  std::deque<Region> regions;
  const std::string guard = std::string(2 * kPage, static_cast<char>(kGuard));  // the largest
  std::map<size_t, std::deque<Region*>> released;  // by pages, the longest released first
};

// Lives as long as the process: threads may still use it while static objects are destroyed.
Arena& arena() {
  static Arena* const instance = [] {
    auto made = std::make_unique<Arena>();
    const auto reserve = [](size_t bytes, int protection) {
      return mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    };
    made->base = static_cast<char*>(reserve(kArenaBytes, PROT_NONE));
    made->owner =
        static_cast<Region**>(reserve(kArenaBytes / kPage * sizeof(Region*), PROT_READ | PROT_WRITE));
    mprotect(made->base, kPage, PROT_READ | PROT_WRITE);
    std::memset(made->base, kGuard, kPage);
    return made.release();
  }();
  return *instance;
}

// A page of guard, and more up to the next page, follow the bytes.
size_t pages_for(size_t bytes) { return (bytes + kPage - 1) / kPage + 1; }

// Calls body(shadow, first, last) for each shadow under these bytes.
template <class Body>
void for_shadows(Region& region, size_t offset, size_t bytes, const Body& body) {
  for (size_t end = offset + bytes; offset < end;) {
    const size_t first = offset % Shadow::kBytes, last = std::min(Shadow::kBytes, first + end - offset);
    body(region.shadow(offset), first, last);
    offset += last - first;
  }
}

size_t offset_in(const Region& region, const void* memory) {
  return static_cast<size_t>(static_cast<const char*>(memory) - region.base);
}

bool is_written(const Shadow& shadow, size_t i) { return (shadow.written[i / 64] >> i % 64 & 1) != 0; }
void set_bit(Shadow& shadow, size_t i, bool written) {
  const uint64_t bit = uint64_t{1} << i % 64;
  shadow.written[i / 64] = written ? shadow.written[i / 64] | bit : shadow.written[i / 64] & ~bit;
}

}  // namespace

Granule* Shadow::at(size_t offset, size_t bytes) {
  if (granules.empty()) {
    granule_bytes = bytes;
    granules.resize(kBytes / bytes);
  } else if (bytes < granule_bytes) {
    const size_t times = granule_bytes / bytes;
    std::vector<Granule> finer(granules.size() * times);
    for (size_t i = 0; i < finer.size(); ++i) finer[i] = granules[i / times];
    granules = std::move(finer);
    granule_bytes = bytes;
  }
  return &granules[offset % kBytes / granule_bytes];
}

Shadow& Region::shadow(size_t offset) {
  auto& shadow = shadows[offset / Shadow::kBytes];
  if (shadow == nullptr) shadow = std::make_unique<Shadow>();
  return *shadow;
}

Region* allocate_region(size_t bytes, std::string name, const Block* owner) {
  Arena& a = arena();
  const size_t pages = pages_for(bytes);
  Region* region = nullptr;
  if (auto& released = a.released[pages]; !released.empty()) {
    region = released.front();
    released.pop_front();
  } else {
    if (a.used + pages * kPage > kArenaBytes) return nullptr;
    region = &a.regions.emplace_back();
    region->base = a.base + a.used;
    mprotect(region->base, pages * kPage, PROT_READ | PROT_WRITE);
    std::fill_n(a.owner + a.used / kPage, pages, region);
    a.used += pages * kPage;
  }
  region->bytes = bytes;
  region->name = std::move(name);
  region->owner = owner;
  region->live = true;
  region->shadows.clear();
  if (checked()) region->shadows.resize((bytes + Shadow::kBytes - 1) / Shadow::kBytes);
  std::memset(region->base, kPoison, bytes);
  std::memset(region->base + bytes, kGuard, pages * kPage - bytes);
  return region;
}

void release_region(Region& region) {
  region.live = false;
  region.shadows.clear();
  const size_t pages = pages_for(region.bytes);
  if (region.bytes >= kLarge) madvise(region.base, pages * kPage, MADV_DONTNEED);
  arena().released[pages].push_back(&region);
}

void poison(Region& region) {
  std::memset(region.base, kPoison, region.bytes);
  for (auto& shadow : region.shadows) {
    if (shadow != nullptr) std::fill(std::begin(shadow->written), std::end(shadow->written), 0);
  }
}

bool in_arena(const void* memory) {
  return static_cast<size_t>(static_cast<const char*>(memory) - arena().base) < kArenaBytes;
}

Region* find_region(const void* memory) {
  if (!in_arena(memory)) return nullptr;
  return arena().owner[static_cast<size_t>(static_cast<const char*>(memory) - arena().base) / kPage];
}

Region* region_of(const void* memory, size_t bytes) {
  Region* const region = find_region(memory);
  if (region == nullptr || !region->live || region->shared()) return nullptr;
  const size_t offset = offset_in(*region, memory);
  return offset <= region->bytes && bytes <= region->bytes - offset ? region : nullptr;
}

std::string damaged_guard() {
  const std::string& intact = arena().guard;
  for (const Region& region : arena().regions) {
    if (!region.live) continue;
    const char* const guard = region.base + region.bytes;
    const size_t bytes = pages_for(region.bytes) * kPage - region.bytes;
    if (std::memcmp(guard, intact.data(), bytes) == 0) continue;
    const auto at = std::mismatch(guard, guard + bytes, intact.begin()).first - guard;
    return "out of bounds: byte " + std::to_string(at) + " behind the end of " + region.name + " (" +
           std::to_string(region.bytes) + " bytes) was written";
  }
  return "";
}

void set_written(void* memory, size_t bytes, bool written) {
  Region* const region = find_region(memory);
  if (!checked() || region == nullptr) return;
  for_shadows(*region, offset_in(*region, memory), bytes, [&](Shadow& shadow, size_t first, size_t last) {
    if (last - first == Shadow::kBytes)
      std::fill(std::begin(shadow.written), std::end(shadow.written), written ? ~uint64_t{0} : 0);
    else
      for (size_t i = first; i < last; ++i) set_bit(shadow, i, written);
  });
}

size_t first_unwritten(const void* memory, size_t bytes) {
  Region* const region = find_region(memory);
  if (!checked() || region == nullptr) return bytes;
  size_t seen = 0, found = bytes;
  for_shadows(*region, offset_in(*region, memory), bytes, [&](Shadow& shadow, size_t first, size_t last) {
    for (size_t i = first; i < last; ++i, ++seen) {
      if (!is_written(shadow, i)) found = std::min(found, seen);
    }
  });
  return found;
}

void copy_written(void* to, const void* from, size_t bytes) {
  Region *const source = find_region(from), *const target = find_region(to);
  if (!checked() || source == nullptr || target == nullptr) return;
  const size_t read = offset_in(*source, from), write = offset_in(*target, to);
  for (size_t i = 0; i < bytes; ++i) {
    const bool written = is_written(source->shadow(read + i), (read + i) % Shadow::kBytes);
    set_bit(target->shadow(write + i), (write + i) % Shadow::kBytes, written);
  }
}

}  // namespace emulator
