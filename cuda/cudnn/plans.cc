// Finds out which cuDNN plans a device has for a convolution, and chooses the fastest among them and our
// own kernels.
#include "plans.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "../check.h"
#include "cache.h"
#include "engines.h"
#include "loader.h"
#include "plan.h"
#include "stopwatch.h"

namespace pixelcnn::cuda {
namespace {

// The number of configurations of one graph that are timed: of those that only need loading, and of those
// that cuDNN compiles first, which can take seven seconds each.
constexpr int kMostLoaded = 16;
constexpr int kMostCompiled = 6;

// Returns the convolutions that can serve a request; see ConvolutionPlan::convolution.
std::vector<Convolution> alternatives(const ConvolutionRequest& request) {
  if (request.convolution == Convolution::kInputGradientThroughRelu) {
    return {Convolution::kInputGradientThroughRelu, Convolution::kInputGradient};
  }
  if (request.convolution == Convolution::kWeightGradient && request.shape.precision == Precision::kBf16) {
    return {Convolution::kWeightGradient, Convolution::kWeightGradientRounded};
  }
  return {request.convolution};
}

class DevicePlans final : public Cudnn {
 public:
  // `device` names the kind of device, with everything that could change the fastest choice.
  DevicePlans(std::shared_ptr<const CudnnLibrary> library, std::string device, CudnnTarget target)
      : library_(std::move(library)),
        version_(cudnn_version_text(library_->version)),
        device_(std::move(device)),
        runtime_(*library_->api, std::move(target)),
        excluded_(cache_.excluded_engines()) {}

  // Does not use the default stream, which is forbidden while any stream of this GPU is captured.
  void allocate_zero(cudaStream_t stream) {
    PIXELCNN_CUDA(cudaMalloc(reinterpret_cast<void**>(&runtime_.zero), sizeof(float)));
    PIXELCNN_CUDA(cudaMemsetAsync(runtime_.zero, 0, sizeof(float), stream));
    PIXELCNN_CUDA(cudaStreamSynchronize(stream));
  }

  const ConvolutionPlan* prepare(const ConvolutionRequest& request, const ConvolutionTrial& trial) override {
    const Key key = key_of(request);
    if (const auto known = choices_.find(key); known != choices_.end()) return known->second;
    const std::string file_key = describe(request) + " | cuDNN " + version_ + " | " + device_;
    if (!read_choice(key, request, file_key)) {
      auto [plan, lasting] = choose(request, trial);
      if (lasting) write_choice(file_key, plan.get());
      keep(key, std::move(plan));
    }
    return choices_.at(key);
  }

  const ConvolutionPlan* find(const ConvolutionRequest& request) const override {
    const auto known = choices_.find(key_of(request));
    return known == choices_.end() ? nullptr : known->second;
  }

  std::vector<std::unique_ptr<ConvolutionPlan>> candidates(const ConvolutionRequest& request) override {
    std::vector<std::unique_ptr<ConvolutionPlan>> plans;
    for (const Convolution convolution : alternatives(request)) {
      for (const EngineConfiguration& configuration : configurations(convolution, request.shape)) {
        if (auto plan = try_plan(convolution, request.shape, configuration)) plans.push_back(std::move(plan));
      }
    }
    return plans;
  }

  void exclude(const std::string& engine) override {
    excluded_.insert(engine);
    cache_.exclude_engine(engine);
  }

 private:
  using Key = std::array<int32_t, 10>;
  struct Choice {
    std::unique_ptr<CudnnPlan> plan;  // null for our own kernels
    bool lasting;                     // whether to keep it on disk
  };

  static Key key_of(const ConvolutionRequest& request) {
    const MaskedConv2dShape& s = request.shape;
    const Window& window = s.window;
    return {static_cast<int32_t>(request.convolution),
            s.n,
            s.h,
            s.w,
            s.c,
            s.k,
            window.above,
            window.columns,
            window.left,
            static_cast<int32_t>(s.precision)};
  }

  std::string engine_name(Convolution convolution, int64_t engine) const {
    return version_ + "/" + name_of(convolution) + "/" + std::to_string(engine);
  }

  // Returns the allowed configurations in cuDNN's order. Throws ERR_CUDNN if cuDNN refuses the graph.
  std::vector<EngineConfiguration> configurations(Convolution convolution, const MaskedConv2dShape& shape) {
    const Graph graph = build_graph(runtime_.api, runtime_.target, {convolution, shape});
    std::vector<EngineConfiguration> allowed;
    for (auto& configuration : offered_configurations(runtime_.api, runtime_.target, graph)) {
      if (passes_rules(configuration, shape.precision) &&
          !excluded_.contains(engine_name(convolution, configuration.engine))) {
        allowed.push_back(std::move(configuration));
      }
    }
    return allowed;
  }

  // Returns null if the configuration turns out not to work, or needs too much memory.
  std::unique_ptr<CudnnPlan> try_plan(Convolution convolution, const MaskedConv2dShape& shape,
                                      const EngineConfiguration& configuration) {
    try {
      auto plan = std::make_unique<CudnnPlan>(runtime_, convolution, shape.precision,
                                              engine_name(convolution, configuration.engine),
                                              make_plan(runtime_.api, runtime_.target, configuration));
      if (plan->workspace_bytes() > kMostPlanWorkspace) return nullptr;
      return plan;
    } catch (const Error&) {
      return nullptr;
    }
  }

  Choice choose(const ConvolutionRequest& request, const ConvolutionTrial& trial) {
    if (runtime_.target.handle == nullptr) return {first_plan(request), true};
    Stopwatch stopwatch;
    std::byte* memory = stopwatch.memory(trial.bytes(nullptr));
    if (memory == nullptr) return {first_plan(request), false};
    float best = stopwatch.time([&](cudaStream_t stream) { trial.enqueue(nullptr, memory, stream); },
                                std::numeric_limits<float>::infinity());
    std::unique_ptr<CudnnPlan> best_plan;
    for_each_plan(request, [&](std::unique_ptr<CudnnPlan> plan) {
      memory = stopwatch.memory(trial.bytes(plan.get()));
      if (memory == nullptr) return;
      const float time =
          stopwatch.time([&](cudaStream_t stream) { trial.enqueue(plan.get(), memory, stream); }, 2 * best);
      if (time >= best) return;
      best = time;
      best_plan = std::move(plan);
    });
    return {std::move(best_plan), true};
  }

  // Returns, without timing, the plan that cuDNN ranks first.
  std::unique_ptr<CudnnPlan> first_plan(const ConvolutionRequest& request) {
    std::unique_ptr<CudnnPlan> first;
    for_each_plan(request, [&](std::unique_ptr<CudnnPlan> plan) {
      if (first == nullptr) first = std::move(plan);
    });
    return first;
  }

  // Calls visit for every plan worth timing. A plan that fails is skipped: that is a result, not an error.
  template <class Visit>
  void for_each_plan(const ConvolutionRequest& request, const Visit& visit) {
    for (const Convolution convolution : alternatives(request)) {
      int loaded = 0, compiled = 0;
      std::vector<EngineConfiguration> allowed;
      try {
        allowed = configurations(convolution, request.shape);
      } catch (const Error&) {
      }
      for (const EngineConfiguration& configuration : allowed) {
        int& count = configuration.compiled_at_run_time ? compiled : loaded;
        if (count >= (configuration.compiled_at_run_time ? kMostCompiled : kMostLoaded)) continue;
        std::unique_ptr<CudnnPlan> plan = try_plan(convolution, request.shape, configuration);
        if (plan == nullptr) continue;
        ++count;
        try {
          visit(std::move(plan));
        } catch (const Error& error) {
          if (error.code() != "ERR_CUDNN") throw;
        }
      }
    }
  }

  bool read_choice(const Key& key, const ConvolutionRequest& request, const std::string& file_key) {
    std::optional<CachedChoice> cached = cache_.read(file_key);
    if (!cached) return false;
    if (cached->own_kernels) {
      keep(key, nullptr);
      return true;
    }
    const std::vector<Convolution> possible = alternatives(request);
    if (std::find(possible.begin(), possible.end(), cached->convolution) == possible.end() ||
        excluded_.contains(cached->engine)) {
      return false;
    }
    try {
      keep(key,
           std::make_unique<CudnnPlan>(runtime_, cached->convolution, request.shape.precision, cached->engine,
                                       plan_from_json(runtime_.api, runtime_.target, cached->plan)));
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  void write_choice(const std::string& file_key, const CudnnPlan* plan) const {
    if (plan == nullptr) return cache_.write(file_key, {.own_kernels = true});
    cache_.write(file_key, {false, plan->convolution(), plan->engine(), plan->json()});
  }

  void keep(const Key& key, std::unique_ptr<CudnnPlan> plan) {
    choices_[key] = plan.get();
    if (plan != nullptr) plans_.push_back(std::move(plan));
  }

  const std::shared_ptr<const CudnnLibrary> library_;
  const std::string version_;
  const std::string device_;
  PlanRuntime runtime_;
  const CudnnCache cache_;
  std::set<std::string> excluded_;
  std::vector<std::unique_ptr<CudnnPlan>> plans_;
  std::map<Key, const ConvolutionPlan*> choices_;
};

}  // namespace

std::unique_ptr<Cudnn> open_cudnn(std::shared_ptr<const CudnnLibrary> library, cudaStream_t stream) {
  PIXELCNN_CHECK(library->api != nullptr, library->code, library->message);
  int index = 0, driver = 0;
  cudaDeviceProp properties;
  PIXELCNN_CUDA(cudaGetDevice(&index));
  PIXELCNN_CUDA(cudaGetDeviceProperties(&properties, index));
  PIXELCNN_CUDA(cudaDriverGetVersion(&driver));
  const std::string device = std::string(properties.name) + " sm_" + std::to_string(properties.major) +
                             std::to_string(properties.minor) + " " +
                             std::to_string(properties.multiProcessorCount) + " multiprocessors, driver " +
                             std::to_string(driver);
  CudnnTarget target;
  check_cudnn(*library->api, library->api->cudnnCreate(&target.handle), "cudnnCreate");
  auto plans = std::make_unique<DevicePlans>(std::move(library), device, std::move(target));
  plans->allocate_zero(stream);
  return plans;
}

std::unique_ptr<Cudnn> open_cudnn_for_profile(std::shared_ptr<const CudnnLibrary> library,
                                              const std::string& device_properties) {
  PIXELCNN_CHECK(library->api != nullptr, library->code, library->message);
  std::string device;  // the text on one line
  for (const char c : device_properties) {
    if (c != '\n' && c != '\r') device += c;
  }
  CudnnTarget target{.properties = pixelcnn::cuda::device_properties(*library->api, device_properties)};
  return std::make_unique<DevicePlans>(std::move(library), device, std::move(target));
}

}  // namespace pixelcnn::cuda
