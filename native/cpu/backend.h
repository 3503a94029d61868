// Opens the CPU backend, which calls the kernels of one instruction set.
#pragma once
#include <memory>
#include <string>

#include "../backend.h"

namespace pixelcnn::cpu {

std::shared_ptr<Backend> open_backend(int threads, const std::string& instruction_set);

}  // namespace pixelcnn::cpu
