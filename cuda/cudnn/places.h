// Finds the places where NVIDIA's libraries may lie on this machine.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace pixelcnn::cuda {

// Returns the entries of a folder whose names begin with `prefix`, the newest version first.
std::vector<std::filesystem::path> children_of(const std::filesystem::path& folder,
                                               const std::string& prefix);

// Returns the folders in the order in which to try them. `package` is named as in wheels: "cudnn", "cu13".
std::vector<std::filesystem::path> nvidia_folders(const char* package);

// Returns the file, with links resolved, that the loader finds for a bare name; "" if there is none. The
// library stays open.
std::string loader_path(const char* name);

}  // namespace pixelcnn::cuda
