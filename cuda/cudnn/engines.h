// Defines the engine configurations that cuDNN's heuristics offer for a graph, the rules that they must
// pass, and plans made of them.
#pragma once
#include <string>
#include <vector>

#include "graph.h"

namespace pixelcnn::cuda {

// The largest workspace that a plan may need.
constexpr int64_t kMostPlanWorkspace = int64_t{512} << 20;

// An engine with its parameters. The notes hold for this configuration and graph: the same engine may have
// other notes elsewhere.
struct EngineConfiguration {
  Descriptor descriptor;
  int64_t engine;
  std::string parameters;  // distinguishes two configurations of one engine
  int64_t workspace_bytes;
  bool tensor_cores, deterministic, float_sums, transforms, rounds_inputs, compiled_at_run_time;
};

// Returns the configurations of heuristic modes A and B, best first and without duplicates, or those of
// the fallback mode if both are empty. Throws ERR_CUDNN if the query itself fails. The list is empty for a
// graph that nothing supports.
std::vector<EngineConfiguration> offered_configurations(const CudnnApi& api, const CudnnTarget& target,
                                                        const Graph& graph);

// Whether a configuration may compute in this precision. It must give the same bits every time, sum in
// float32, use no transform (FFT and Winograd mix pixels, so rounding would leak across the mask), and use
// tensor cores unless strict float32 is asked for.
bool passes_rules(const EngineConfiguration& configuration, Precision precision);

// Makes a finalized execution plan. Throws ERR_CUDNN if the configuration turns out not to work.
Descriptor make_plan(const CudnnApi& api, const CudnnTarget& target,
                     const EngineConfiguration& configuration);

// These convert a plan to text and back. Reading is fast even for plans that were compiled at run time.
// Throw ERR_CUDNN.
std::string plan_to_json(const Descriptor& plan);
Descriptor plan_from_json(const CudnnApi& api, const CudnnTarget& target, const std::string& json);

}  // namespace pixelcnn::cuda
