// Asks cuDNN's heuristics for engine configurations, checks them against our rules, and makes plans of
// them.
#include "engines.h"

#include <algorithm>
#include <set>

namespace pixelcnn::cuda {
namespace {

// Returns the descriptors of an attribute, at most `capacity`. cuDNN fills descriptors that the caller has
// created.
std::vector<Descriptor> get_descriptors(const CudnnApi& api, const Descriptor& from,
                                        cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                        int64_t capacity) {
  std::vector<Descriptor> descriptors;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (int64_t i = 0; i < capacity; ++i) handles.push_back(descriptors.emplace_back(api, type).get());
  if (capacity == 0) return descriptors;
  const int64_t count = from.get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, capacity, handles.data());
  while (static_cast<int64_t>(descriptors.size()) > count) descriptors.pop_back();
  return descriptors;
}

std::string parameters_of(const CudnnApi& api, const Descriptor& configuration) {
  std::string text;
  // cuDNN does not report the number beforehand, but there is at most one of each type.
  for (const Descriptor& choice :
       get_descriptors(api, configuration, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                       CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS)) {
    cudnnBackendKnobType_t type;
    choice.get(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type);
    const int64_t value = choice.get_int64(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
    text += std::to_string(static_cast<int>(type)) + "=" + std::to_string(value) + " ";
  }
  return text;
}

EngineConfiguration examine(const CudnnApi& api, Descriptor configuration) {
  Descriptor engine(api, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &handle);

  cudnnBackendNumericalNote_t
      notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT + 16];  // a newer cuDNN may have more types
  const auto* notes_end = notes + engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                             std::size(notes), notes);
  cudnnBackendBehaviorNote_t behaviors[CUDNN_BEHAVIOR_NOTE_TYPE_COUNT + 16];
  const auto* behaviors_end =
      behaviors +
      engine.get(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, std::size(behaviors), behaviors);
  const auto has = [&](cudnnBackendNumericalNote_t note) {
    return std::find<const cudnnBackendNumericalNote_t*>(notes, notes_end, note) != notes_end;
  };
  const bool compiled =
      std::find<const cudnnBackendBehaviorNote_t*>(behaviors, behaviors_end,
                                                   CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != behaviors_end;
  const int64_t index = engine.get_int64(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
  std::string parameters = parameters_of(api, configuration);
  const int64_t workspace = configuration.get_int64(CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE);
  return {
      .descriptor = std::move(configuration),
      .engine = index,
      .parameters = std::move(parameters),
      .workspace_bytes = workspace,
      .tensor_cores = has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE),
      .deterministic = !has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC),
      .float_sums = !has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION),
      .transforms = has(CUDNN_NUMERICAL_NOTE_FFT) || has(CUDNN_NUMERICAL_NOTE_WINOGRAD) ||
                    has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4) ||
                    has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6) ||
                    has(CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13),
      .rounds_inputs = has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS),
      .compiled_at_run_time = compiled,
  };
}

std::vector<Descriptor> query(const CudnnApi& api, const CudnnTarget& target, const Graph& graph,
                              cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(api, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  if (target.properties) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
  heuristics.finalize();
  const int64_t announced =
      heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  return get_descriptors(api, heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                         announced);
}

Descriptor begin_plan(const CudnnApi& api, const CudnnTarget& target) {
  Descriptor plan(api, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  if (target.properties) {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
  } else {
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &target.handle);
  }
  return plan;
}

}  // namespace

std::vector<EngineConfiguration> offered_configurations(const CudnnApi& api, const CudnnTarget& target,
                                                        const Graph& graph) {
  std::vector<EngineConfiguration> configurations;
  std::set<std::string> seen;
  const auto take = [&](cudnnBackendHeurMode_t mode) {
    for (Descriptor& descriptor : query(api, target, graph, mode)) {
      EngineConfiguration configuration = examine(api, std::move(descriptor));
      if (seen.insert(std::to_string(configuration.engine) + " " + configuration.parameters).second) {
        configurations.push_back(std::move(configuration));
      }
    }
  };
  take(CUDNN_HEUR_MODE_A);
  take(CUDNN_HEUR_MODE_B);
  if (configurations.empty()) take(CUDNN_HEUR_MODE_FALLBACK);
  return configurations;
}

bool passes_rules(const EngineConfiguration& configuration, Precision precision) {
  return configuration.deterministic && configuration.float_sums && !configuration.transforms &&
         !configuration.rounds_inputs && configuration.workspace_bytes <= kMostPlanWorkspace &&
         configuration.tensor_cores == (precision != Precision::kF32);
}

Descriptor make_plan(const CudnnApi& api, const CudnnTarget& target,
                     const EngineConfiguration& configuration) {
  Descriptor plan = begin_plan(api, target);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration.descriptor);
  plan.finalize();
  return plan;
}

std::string plan_to_json(const Descriptor& plan) {
  const int64_t size = plan.get(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0, nullptr);
  std::string json(size, '\0');
  plan.get(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, size, json.data());
  json.resize(json.find('\0') == std::string::npos ? size : json.find('\0'));
  return json;
}

Descriptor plan_from_json(const CudnnApi& api, const CudnnTarget& target, const std::string& json) {
  Descriptor plan = begin_plan(api, target);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, json);
  plan.finalize();
  return plan;
}

}  // namespace pixelcnn::cuda
