// Opens and closes a GPU, and allocates its memory. The executor thread uses the device until it is
// closed.
#include <cstring>
#include <exception>
#include <map>
#include <string>
#include <utility>

#include "../native/environment.h"
#include "backend.h"
#ifdef PIXELCNN_WITH_CUDNN
#include <dlfcn.h>

#include "cudnn/loader.h"
#endif

namespace pixelcnn {

namespace {

bool is_set(const char* variable, const char* value) { return environment(variable) == value; }

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Returns the number of GPUs. Throws ERR_BACKEND_UNAVAILABLE if there is no driver or no visible GPU.
int device_count() {
  int driver = 0, runtime = 0, count = 0;
  PIXELCNN_CUDA(cudaDriverGetVersion(&driver));
  PIXELCNN_CUDA(cudaRuntimeGetVersion(&runtime));
  if (driver == 0) {
    throw Error("ERR_BACKEND_UNAVAILABLE", "no NVIDIA driver was found (libcuda.so.1)",
                "install the NVIDIA driver; in a container, start it with GPU access (--gpus all)");
  }
  const cudaError_t status = cudaGetDeviceCount(&count);
  static_cast<void>(cudaGetLastError());
  if (status == cudaErrorInsufficientDriver) {
    throw Error("ERR_BACKEND_UNAVAILABLE",
                "the NVIDIA driver supports CUDA " + version_text(driver) + ", this library needs CUDA " +
                    version_text(runtime),
                "install NVIDIA driver 580 or newer");
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    throw Error("ERR_BACKEND_UNAVAILABLE", "the NVIDIA driver shows no GPU",
                "check nvidia-smi and the variable CUDA_VISIBLE_DEVICES");
  }
  if (status != cudaSuccess) {
    throw Error("ERR_BACKEND_UNAVAILABLE",
                std::string("CUDA could not be initialised: ") + cudaGetErrorString(status),
                "check nvidia-smi");
  }
  return count;
}

#ifdef PIXELCNN_WITH_CUDNN
// Returns null if there is no driver, because cuDNN could not run then.
std::shared_ptr<const cuda::CudnnLibrary> cudnn_before_cuda() {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) == nullptr) return nullptr;
  return cuda::load_cudnn();
}
#endif

template <size_t kSize>
void copy_text(char (&to)[kSize], const std::string& text) {
  std::strncpy(to, text.c_str(), kSize - 1);
}

}  // namespace

std::mutex& mutex_of_gpu(int index) {
  struct Gpus {
    std::mutex mutex;
    std::map<int, std::mutex> gpus;
  };
  // Never destroyed, because other threads may still use it while the process ends.
  static Gpus& all = *std::make_unique<Gpus>().release();
  const std::lock_guard lock(all.mutex);
  return all.gpus[index];
}

CudaDevice::CudaDevice(int32_t index, CudaDeviceInfo& info)
    : index_(index), graphs_(!is_set("PIXELCNN_GRAPHS", "0")), synchronous_(is_set("PIXELCNN_SYNC", "1")) {
#ifdef PIXELCNN_WITH_CUDNN
  const auto library = cudnn_before_cuda();
#endif
  const int count = device_count();
  PIXELCNN_CHECK(
      index < count, "ERR_NO_DEVICE",
      "there is no GPU " + std::to_string(index) + ": this machine shows " + std::to_string(count));
  cudaDeviceProp properties{};
  PIXELCNN_CUDA(cudaGetDeviceProperties(&properties, index));
  gpu_.multiprocessors = properties.multiProcessorCount;
  gpu_.compute_capability = 10 * properties.major + properties.minor;
  PIXELCNN_CHECK(gpu_.compute_capability >= 75, "ERR_BACKEND_UNAVAILABLE",
                 std::string(properties.name) + " has compute capability " +
                     std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                     ", pixelcnn needs 7.5 or newer");
  enter();
  cudaStream_t stream = nullptr;
  PIXELCNN_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  stream_.reset(stream);
  staging_ = std::make_unique<cuda::Staging>(stream);

  std::string cudnn = "none: this build leaves it out";
#ifdef PIXELCNN_WITH_CUDNN
  try {
    if (library == nullptr || library->api == nullptr) {
      cudnn = "none: " + (library == nullptr ? "there is no driver" : library->message);
    } else {
      const std::lock_guard alone(mutex_of_gpu(index));
      cudnn_ = cuda::open_cudnn(library, stream);
      gpu_.cudnn = cudnn_.get();
      cudnn = cuda::cudnn_version_text(library->version) + " (" + library->path +
              (library->tried ? ")" : ", opened without a trial)");
    }
  } catch (const std::exception& error) {
    cudnn = std::string("none: ") + error.what();
  }
#endif
  copy_text(info.name, properties.name);
  copy_text(info.cudnn, cudnn);
  info.compute_capability = gpu_.compute_capability;
}

// Ignores errors: the process may be ending, and CUDA with it, and nobody could handle them.
void CudaDevice::close() {
  static_cast<void>(cudaSetDevice(index_));
  if (stream_ != nullptr) static_cast<void>(cudaStreamSynchronize(stream_.get()));
  free_released();
  static_cast<void>(cudaFree(std::exchange(workspace_, nullptr)));
  workspace_bytes_ = 0;
  if (cudnn_ != nullptr) {
    // cudnnDestroy waits for the whole GPU.
    const std::lock_guard alone(mutex_of_gpu(index_));
    cudnn_.reset();
  }
  staging_.reset();
}

void* CudaDevice::allocate(int64_t bytes) {
  free_released();
  const size_t size = static_cast<size_t>(bytes > 0 ? bytes : 1);
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, size);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    size_t free = 0, total = 0;
    static_cast<void>(cudaMemGetInfo(&free, &total));
    throw Error("ERR_OUT_OF_MEMORY",
                "could not allocate " + std::to_string(bytes) + " bytes of GPU memory: " +
                    std::to_string(free) + " of " + std::to_string(total) + " bytes are free",
                "use a smaller batch, dispose of models that are not needed, or choose another GPU");
  }
  PIXELCNN_CUDA(status);
  cuda::DeviceMemory owned(static_cast<std::byte*>(memory));
  PIXELCNN_CUDA(cudaMemsetAsync(memory, 0, size, stream_.get()));
  return owned.release();
}

void CudaDevice::release(void* memory) {
  std::lock_guard lock(released_mutex_);
  released_.push_back(memory);
}

void CudaDevice::release_replay(CudaReplay* replay) {
  std::lock_guard lock(released_mutex_);
  released_replays_.emplace_back(replay);
}

// The stream is synchronised first, so that no enqueued work loses its memory.
void CudaDevice::free_released() {
  std::vector<void*> memory;
  std::vector<std::unique_ptr<CudaReplay>> replays;
  {
    std::lock_guard lock(released_mutex_);
    memory.swap(released_);
    replays.swap(released_replays_);
  }
  if (replays.empty() && memory.empty()) return;
  static_cast<void>(cudaStreamSynchronize(stream_.get()));
  replays.clear();
  for (void* block : memory) static_cast<void>(cudaFree(block));
}

void CudaDevice::reserve_workspace(int64_t bytes) {
  free_released();
  if (bytes <= workspace_bytes_) return;
  PIXELCNN_CUDA(cudaStreamSynchronize(stream_.get()));
  static_cast<void>(cudaFree(workspace_));
  workspace_ = nullptr;
  workspace_bytes_ = 0;
  workspace_ = static_cast<std::byte*>(allocate(bytes));
  workspace_bytes_ = bytes;
}

std::unique_lock<std::mutex> CudaDevice::plan_alone() {
  std::unique_lock lock(mutex_of_gpu(index_));
  PIXELCNN_CUDA(cudaStreamSynchronize(stream_.get()));
  return lock;
}

bool CudaDevice::reached(uint64_t fence) {
  PIXELCNN_CUDA(cudaSetDevice(index_));
  return staging_->reached(fence);
}

void CudaDevice::enter() {
  if (lost_) {
    throw Error("ERR_DEVICE_LOST", "the GPU failed earlier and this process cannot use it any more",
                "start a new process; training resumes from its last checkpoint");
  }
  PIXELCNN_CUDA(cudaSetDevice(index_));
}

void CudaDevice::leave_failed(const Error& error) {
  if (capture_.owns_lock()) return;  // cancel_recording is called next and cleans up
  if (staging_ != nullptr) staging_->abandon();
  if (error.code() != "ERR_CUDA") return;
  static_cast<void>(cudaGetLastError());
  // Waits for this device's own stream only: waiting for the whole GPU is an error while another device
  // captures.
  lost_ = cuda::is_sticky(cudaStreamSynchronize(stream_.get()));
}

}  // namespace pixelcnn
