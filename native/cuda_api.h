// Defines the interface between pixelcnn.node and libpixelcnn_cuda.so: one exported C function that
// returns a table of functions. Only plain data crosses it, no exception and no C++ standard library
// object, because the two files may link different copies of that library.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ops.h"

namespace pixelcnn {

// Raise it whenever the table of functions, the op table or a struct below changes.
constexpr int32_t kCudaAbi = 8;

// Says whether a call succeeded: `code` is empty on success.
struct CudaStatus {
  char code[40];
  char message[1024];
  char remedy[512];
};

struct CudaDeviceInfo {
  char name[128];
  int32_t compute_capability;  // 10 * major + minor
  char cudnn[640];             // its version and path, or why it is not used
};

// Describes the cuDNN of this machine without opening a GPU. Texts that are too long are cut. `message` is
// empty if cuDNN can be used.
struct CudnnReport {
  char version[16];     // "9.24.0"
  char path[512];       // of libcudnn.so.9
  char code[32];        // ERR_CUDNN_…
  char message[1024];   // a sentence that says what is wrong
  char remedy[512];     // a sentence that says what to do
  char attempts[4096];  // the places that were searched: one line each, "path: reason"
};

class CudaDevice;  // defined in cuda/backend.h
class CudaReplay;

// These functions do what the functions of the same name in Backend (native/backend.h) do. The last
// parameter receives the error of a call.
struct CudaFunctions {
  CudaDevice* (*open)(int32_t index, CudaDeviceInfo*, CudaStatus*);
  void (*destroy)(CudaDevice*);
  void* (*allocate)(CudaDevice*, int64_t bytes, CudaStatus*);
  void (*release)(CudaDevice*, void* memory);
  void (*write)(CudaDevice*, void* device, const void* host, int64_t bytes, CudaStatus*);
  void (*read)(CudaDevice*, void* host, const void* device, int64_t bytes, CudaStatus*);
  void (*reserve_workspace)(CudaDevice*, int64_t bytes, CudaStatus*);
  void (*close)(CudaDevice*);
  uint64_t (*fence)(CudaDevice*, CudaStatus*);
  int32_t (*reached)(CudaDevice*, uint64_t fence, CudaStatus*);  // 1 if it is reached
  void (*wait)(CudaDevice*, uint64_t fence, CudaStatus*);

  CudaReplay* (*create_replay)(CudaDevice*, CudaStatus*);
  void (*release_replay)(CudaDevice*, CudaReplay*);
  int32_t (*replay)(CudaDevice*, CudaReplay*, CudaStatus*);  // 1 if it ran
  void (*begin_recording)(CudaDevice*, CudaReplay*, CudaStatus*);
  int32_t (*end_recording)(CudaDevice*, CudaReplay*, CudaStatus*);  // 1 if it ran
  int32_t (*cancel_recording)(CudaDevice*, CudaReplay*, const char* error,
                              CudaStatus*);  // 1 if the caller should throw it
  void (*recording)(const CudaDevice*, char* text, size_t size);
  void (*refusal)(const CudaReplay*, char* text, size_t size);

  void (*report_cudnn)(CudnnReport*);
  int64_t (*packed_bytes)(const FilterShape*, Direction);
  int32_t packs_once;  // 1 if one packed filter serves both directions
  int32_t sums;        // kSumsVersion (cuda/launch.h)
  int32_t (*supports)(const CudaDevice*, Precision);
#define PIXELCNN_X(Op)                                            \
  int64_t (*workspace_##Op)(CudaDevice*, const Op*, CudaStatus*); \
  void (*run_##Op)(CudaDevice*, const Op*, CudaStatus*);
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

// The type of the exported function, `pixelcnn_cuda`. It returns null if the library was built for another
// ABI.
using CudaEntry = const CudaFunctions* (*)(int32_t abi);
constexpr const char* kCudaEntry = "pixelcnn_cuda";

}  // namespace pixelcnn
