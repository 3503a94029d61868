// Finds the processor's name and how many processors this process may use: in a container with 2 CPUs on a
// host with 64 cores, that is 2.
#include "processor.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace pixelcnn::cpu {

namespace {

// Returns the processors that the cgroup's quota allows, or 0 if there is no limit.
double cgroup_quota() {
  double quota = 0;
  double period = 0;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period && period > 0) return quota / period;
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period && quota > 0 && period > 0) return quota / period;
  return 0;
}

}  // namespace

int usable_processors() {
  int count = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) count = CPU_COUNT(&set);
#endif
  if (const double quota = cgroup_quota(); quota > 0)
    count = std::min(count, static_cast<int>(std::ceil(quota)));
  return std::max(count, 1);
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) return line.substr(colon + 2);
  }
#if defined(__aarch64__)
  return "arm64";
#elif defined(__x86_64__)
  return "x86-64";
#else
  return "unknown";
#endif
}

}  // namespace pixelcnn::cpu
