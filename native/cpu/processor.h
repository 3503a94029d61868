// What processor this is and how much of it this process may use.
#pragma once
#include <string>

namespace pixelcnn::cpu {

// Processors in the affinity mask, further limited by the cgroup's CPU quota (rounded up), at least 1.
int usable_processors();

// The model name, e.g. "AMD EPYC"; the architecture where there is none.
std::string processor_name();

}  // namespace pixelcnn::cpu
