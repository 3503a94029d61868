// Names places in the source, for messages.
#pragma once
#include <cstdint>
#include <string>

#include "emulator.h"

namespace emulator {

bool same(const Site& a, const Site& b);
std::string text(const Site& site);

// Code is remembered by its distance from the beginning of this library (or program).
uint32_t code_offset(const void* code);
std::string place(uint32_t code_offset);  // file:line, inlined code first: "a.h:3 in b.cu:7"
bool in_this_library(const void* memory);

}  // namespace emulator
