// Emulates shared arrays, which are created when a block first uses them and poisoned again for each
// block.
#include "device_properties.h"
#include "grid.h"

namespace emulator {

void* shared_array(const void* key, size_t bytes, const char* name) {
  InEmulator mark;
  const Block& block = *grid.current->warp->block;
  for (const auto& array : grid.shared_arrays) {
    if (array.key == key && array.slot == block.slot) return array.region->base;
  }
  const bool dynamic = key == &grid.shape.shared_bytes;
  if (block.slot == 0 && !dynamic) grid.static_shared_bytes += bytes;
  if (grid.static_shared_bytes > kSharedBytes) {
    fail("more than 48 KB of static shared memory, with " + std::string(name));
  }
  if (grid.static_shared_bytes + grid.shape.shared_bytes > shared_bytes_with_permission()) {
    fail("more than " + std::to_string(shared_bytes_with_permission()) + " bytes of shared memory, with " +
         name);
  }
  Region* const region = allocate_region(bytes, name, &block);
  if (region == nullptr) fail("the emulator's memory is full");
  grid.shared_arrays.push_back({key, block.slot, region});
  return region->base;
}

void* dynamic_shared() {
  if (grid.shape.shared_bytes == 0) {
    InEmulator mark;
    fail("dynamic shared memory is used, but the launch gives none");
  }
  return shared_array(&grid.shape.shared_bytes, grid.shape.shared_bytes, "dynamic shared memory");
}

}  // namespace emulator
