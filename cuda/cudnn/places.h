// Where libraries of NVIDIA may lie on this machine.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace pixelcnn::cuda {

// What lies in a folder and begins with `prefix`, the newest version first.
std::vector<std::filesystem::path> children_of(const std::filesystem::path& folder,
                                               const std::string& prefix);

// Folders in the order in which they are to be tried; `package` as wheels call it: "cudnn", "cu13".
std::vector<std::filesystem::path> nvidia_folders(const char* package);

// The file that the loader picks for a bare name, links resolved; "" if none. The library stays open.
std::string loader_path(const char* name);

}  // namespace pixelcnn::cuda
