// Engine configurations that cuDNN's heuristics offer for a graph, the rules they must pass, and plans made
// of them.
#pragma once
#include <string>
#include <vector>

#include "graph.h"

namespace pixelcnn::cuda {

// Temporary memory that a plan may ask for.
constexpr int64_t kMostPlanWorkspace = int64_t{512} << 20;

// An engine with its parameters. Notes belong to configuration and graph: one engine has them here and not
// there.
struct EngineConfiguration {
  Descriptor descriptor;
  int64_t engine;
  std::string parameters;  // tells two configurations of an engine apart
  int64_t workspace_bytes;
  bool tensor_cores, deterministic, float_sums, transforms, rounds_inputs, compiled_at_run_time;
};

// Modes A and B of the heuristics, best first, without repetition; the fallback mode where both are empty.
// Throws ERR_CUDNN if the query itself fails; a graph that nothing supports has an empty list.
std::vector<EngineConfiguration> offered_configurations(const CudnnApi& api, const CudnnTarget& target,
                                                        const Graph& graph);

// Whether a configuration may compute in this precision: the same bits every time, float32 sums, no transform
// (FFT and Winograd mix pixels, so rounding would leak across the mask), tensor cores unless strict float32
// is asked.
bool passes_rules(const EngineConfiguration& configuration, Precision precision);

// A finalized execution plan. Throws ERR_CUDNN where the configuration turns out not to work.
Descriptor make_plan(const CudnnApi& api, const CudnnTarget& target,
                     const EngineConfiguration& configuration);

// A plan as text and back; reading is fast even for plans that were compiled at run time. Throws ERR_CUDNN.
std::string plan_to_json(const Descriptor& plan);
Descriptor plan_from_json(const CudnnApi& api, const CudnnTarget& target, const std::string& json);

}  // namespace pixelcnn::cuda
