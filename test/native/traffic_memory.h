// Redirects memset and memcpy of the kernels to functions that record their accesses. The compiler is told
// to include this file first, because it instruments loads and stores but not these two functions.
#pragma once
#include <cstddef>
#include <cstring>

extern "C" {
void* traffic_memset(void* to, int value, size_t bytes);
void* traffic_memcpy(void* to, const void* from, size_t bytes);
}
namespace std {
using ::traffic_memcpy;
using ::traffic_memset;
}  // namespace std

#define memset traffic_memset
#define memcpy traffic_memcpy
