// Exports the one function of libpixelcnn_cuda.so. It returns a table of functions, none of which lets an
// exception out.
#include <cstring>
#include <exception>
#include <new>

#include "backend.h"
#include "cudnn/report.h"

// NVIDIA packages this header separately from the compiler, so a toolkit may lack it.
#if defined(__CUDACC__) && __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define PIXELCNN_NVTX 1
#endif

namespace pixelcnn {

namespace {

void report(CudaStatus* status, const Error& error) {
  std::strncpy(status->code, error.code().c_str(), sizeof status->code - 1);
  std::strncpy(status->message, error.what(), sizeof status->message - 1);
  std::strncpy(status->remedy, error.remedy().c_str(), sizeof status->remedy - 1);
}

// Calls body(). If it throws, fills the status and returns a value of zero.
template <class Body>
auto guarded(CudaStatus* status, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Error& error) {
    report(status, error);
  } catch (const std::bad_alloc&) {
    report(status, Error("ERR_OUT_OF_MEMORY", "out of host memory"));
  } catch (const std::exception& error) {
    report(status, Error("ERR_INTERNAL", error.what()));
  }
  return decltype(body())();
}

// Does the same after making the device the calling thread's current one.
template <class Body>
auto on_device(CudaDevice* device, CudaStatus* status, const Body& body) -> decltype(body()) {
  return guarded(status, [&] {
    device->enter();
    try {
      return body();
    } catch (const Error& error) {
      device->leave_failed(error);
      throw;
    } catch (const std::exception& error) {  // host memory ran out
      device->leave_failed(Error("ERR_INTERNAL", error.what()));
      throw;
    }
  });
}

// Gives an op a named range, which profilers show.
class Range {
 public:
#ifdef PIXELCNN_NVTX
  explicit Range(const char* name) { nvtxRangePushA(name); }
  ~Range() { nvtxRangePop(); }
#else
  explicit Range(const char*) {}
#endif
  Range(const Range&) = delete;
};

const CudaFunctions kFunctions = {
    .open = [](int32_t index, CudaDeviceInfo* info, CudaStatus* status) -> CudaDevice* {
      return guarded(status, [&] { return std::make_unique<CudaDevice>(index, *info).release(); });
    },
    .destroy = [](CudaDevice* device) { std::unique_ptr<CudaDevice>{device}.reset(); },
    .allocate = [](CudaDevice* device, int64_t bytes, CudaStatus* status) -> void* {
      return on_device(device, status, [&] { return device->allocate(bytes); });
    },
    .release = [](CudaDevice* device, void* memory) { device->release(memory); },
    .write = [](CudaDevice* device, void* to, const void* host, int64_t bytes,
                CudaStatus* status) { on_device(device, status, [&] { device->write(to, host, bytes); }); },
    .read = [](CudaDevice* device, void* host, const void* from, int64_t bytes,
               CudaStatus* status) { on_device(device, status, [&] { device->read(host, from, bytes); }); },
    .reserve_workspace =
        [](CudaDevice* device, int64_t bytes, CudaStatus* status) {
          on_device(device, status, [&] { device->reserve_workspace(bytes); });
        },
    .close = [](CudaDevice* device) { device->close(); },
    .fence = [](CudaDevice* device, CudaStatus* status) -> uint64_t {
      return on_device(device, status, [&] { return device->fence(); });
    },
    .reached = [](CudaDevice* device, uint64_t fence, CudaStatus* status) -> int32_t {
      // Does not use on_device: `wait` meets the same error again, and handles it for the run that waits.
      return guarded(status, [&] { return device->reached(fence) ? 1 : 0; });
    },
    .wait = [](CudaDevice* device, uint64_t fence,
               CudaStatus* status) { on_device(device, status, [&] { device->wait(fence); }); },

    .create_replay = [](CudaDevice*, CudaStatus* status) -> CudaReplay* {
      return guarded(status, [] { return std::make_unique<CudaReplay>().release(); });
    },
    .release_replay = [](CudaDevice* device, CudaReplay* replay) { device->release_replay(replay); },
    .replay = [](CudaDevice* device, CudaReplay* replay, CudaStatus* status) -> int32_t {
      return on_device(device, status, [&] { return device->replay(*replay) ? 1 : 0; });
    },
    .begin_recording =
        [](CudaDevice* device, CudaReplay* replay, CudaStatus* status) {
          on_device(device, status, [&] { device->begin_recording(*replay); });
        },
    .end_recording = [](CudaDevice* device, CudaReplay* replay, CudaStatus* status) -> int32_t {
      return on_device(device, status, [&] { return device->end_recording(*replay) ? 1 : 0; });
    },
    .cancel_recording = [](CudaDevice* device, CudaReplay* replay, const char* error,
                           CudaStatus* status) -> int32_t {
      // Does not use on_device: if the device is lost, the caller must throw the original error.
      return guarded(status, [&] { return device->cancel_recording(*replay, error) ? 1 : 0; });
    },
    .recording =
        [](const CudaDevice* device, char* text, size_t size) {
          if (size > 0) text[device->recording().copy(text, size - 1)] = '\0';
        },
    .refusal =
        [](const CudaReplay* replay, char* text, size_t size) {
          if (size > 0) text[replay->refusal.copy(text, size - 1)] = '\0';
        },

    .report_cudnn =
        [](CudnnReport* out) {
#ifdef PIXELCNN_WITH_CUDNN
          cuda::report_cudnn(out);
#else
          std::strncpy(out->message, "this build leaves cuDNN out", sizeof out->message - 1);
#endif
        },
    .packed_bytes = [](const FilterShape* shape,
                       Direction direction) { return cuda::packed_bytes(*shape, direction); },
    .packs_once = 1,
    .sums = cuda::kSumsVersion,
    .supports = [](const CudaDevice* device, Precision precision) -> int32_t {
      return device->supports(precision) ? 1 : 0;
    },
#define PIXELCNN_X(Op)                                                                    \
  .workspace_##Op = [](CudaDevice* device, const Op* op, CudaStatus* status) -> int64_t { \
    return on_device(device, status, [&] { return device->workspace(*op); });             \
  },                                                                                      \
  .run_##Op = [](CudaDevice* device, const Op* op, CudaStatus* status) {                  \
    const Range range(#Op);                                                               \
    on_device(device, status, [&] { device->run(*op); });                                 \
  },
    PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const CudaFunctions* pixelcnn_cuda(int32_t abi) {
  return abi == kCudaAbi ? &kFunctions : nullptr;
}

}  // namespace pixelcnn
