// Finds which processor this is and how much of it this process may use.
#pragma once
#include <string>

namespace pixelcnn::cpu {

// Returns the processors in the affinity mask, limited by the cgroup's CPU quota (rounded up); at least 1.
int usable_processors();

// Returns the model name, e.g. "AMD EPYC", or the architecture if the system does not report the name.
std::string processor_name();

}  // namespace pixelcnn::cpu
