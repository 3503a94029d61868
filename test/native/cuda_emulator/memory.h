// Emulates device and shared memory: blocks of whole pages between guard pages, with a record about each
// byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace emulator {

struct Block;

// The last access of its kind to a granule.
struct Touch {
  uint32_t thread = 0;  // 1 + its number in the grid; 0: none
  uint32_t block_epoch = 0, warp_epoch = 0;
  uint32_t code : 31 = 0;  // where, as an offset from the beginning of this library
  uint32_t atomic : 1 = 0;
};
struct Granule {
  Touch write, read[2];
};
// What the checked build knows of 256 bytes: which were written, who touched which. A granule has as many
// bytes as the smallest access so far.
struct Shadow {
  static constexpr size_t kBytes = 256;
  uint64_t written[kBytes / 64] = {};
  size_t granule_bytes = 16;
  std::vector<Granule> granules;  // made at the first access

  // The granules of an access of this size, a power of two up to 16, that is aligned to it.
  Granule* at(size_t offset, size_t bytes);
};

struct Region {
  char* base;
  size_t bytes;
  std::string name;
  const Block* owner;  // of shared memory; null: device memory
  bool live;
  std::vector<std::unique_ptr<Shadow>> shadows;  // made at their first use

  bool shared() const { return owner != nullptr; }
  Shadow& shadow(size_t offset);
};

// Filled with 0xff bytes, NaN in each of our formats. Null where memory is full.
Region* allocate_region(size_t bytes, std::string name, const Block* owner);
void release_region(Region& region);
void poison(Region& region);

// Whether the address lies where all regions do, and the region there: live, released or none.
bool in_arena(const void* memory);
Region* find_region(const void* memory);
// The live region that holds all of these bytes, or null.
Region* region_of(const void* memory, size_t bytes);

// A sentence if something wrote behind a live region's end, otherwise empty.
std::string damaged_guard();

// Which bytes were written, known in the checked build only. first_unwritten gives `bytes` where all were.
void set_written(void* memory, size_t bytes, bool written);
size_t first_unwritten(const void* memory, size_t bytes);
void copy_written(void* to, const void* from, size_t bytes);

}  // namespace emulator
