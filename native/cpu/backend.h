// The CPU backend: forwards each op to the kernel of the instruction set in use.
#pragma once
#include <memory>
#include <string>

#include "../backend.h"

namespace pixelcnn::cpu {

std::shared_ptr<Backend> open_backend(int threads, const std::string& instruction_set);

}  // namespace pixelcnn::cpu
