// Names places in the source: call sites directly, addresses by means of addr2line.
#include "location.h"

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

// The beginning and the end of this library or program: hidden, so each has its own.
extern "C" __attribute__((visibility("hidden"))) const Elf64_Ehdr __ehdr_start;
extern "C" __attribute__((visibility("hidden"))) const char _end;

namespace emulator {

bool same(const Site& a, const Site& b) {
  if (a.line() != b.line() || a.column() != b.column()) return false;
  return a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string text(const Site& site) {
  const char* const slash = std::strrchr(site.file_name(), '/');
  return std::string(slash != nullptr ? slash + 1 : site.file_name()) + ":" + std::to_string(site.line());
}

uint32_t code_offset(const void* code) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(code) -
                               reinterpret_cast<uintptr_t>(&__ehdr_start));
}

bool in_this_library(const void* memory) { return memory >= &__ehdr_start && memory < &_end; }

std::string place(uint32_t code_offset) {
  const uintptr_t base = __ehdr_start.e_type == ET_EXEC ? reinterpret_cast<uintptr_t>(&__ehdr_start) : 0;
  Dl_info library{};
  dladdr(&__ehdr_start, &library);
  // A program is known by the name it was called by, which need not lead to it.
  const bool absolute = library.dli_fname != nullptr && library.dli_fname[0] == '/';
  const std::string path = absolute ? library.dli_fname : "/proc/" + std::to_string(getpid()) + "/exe";
  char address[32];
  std::snprintf(address, sizeof address, "0x%zx", base + code_offset - 1);  // a return address is one too far
  FILE* const out = popen(("addr2line -i -s -e '" + path + "' " + address + " 2>&1").c_str(), "r");
  if (out == nullptr) return address;
  std::string all;
  char line[512];
  while (std::fgets(line, sizeof line, out) != nullptr) {
    line[std::strcspn(line, "\n ")] = 0;
    all += (all.empty() ? "" : " in ") + std::string(line);
  }
  pclose(out);
  return all;
}

}  // namespace emulator
