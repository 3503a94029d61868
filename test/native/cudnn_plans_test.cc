// Makes cuDNN's plans for every convolution of a model from a GPU's properties, without the GPU.
// Usage: cudnn_plans_test CUDNN_FOLDER PROFILE.json graphs PRECISION...   plans of each graph: f32 tf32 bf16
// f16
//        cudnn_plans_test CUDNN_FOLDER PROFILE.json cropping              what the cropped 7 x 7 filter gains
//        cudnn_plans_test CUDNN_FOLDER PROFILE.json cache EMPTY_FOLDER    choices on disk, excluded engines
// Exit code 3: cuDNN cannot be opened, with the reason. Plans compiled at run time need a driver library, or
// cudnn_driver_standin in its place.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "../../cuda/cudnn/cache.h"
#include "../../cuda/cudnn/engines.h"
#include "../../cuda/cudnn/loader.h"
#include "cudnn_check.h"

namespace pixelcnn::test {
namespace {

using namespace cuda;

Checks check;

std::string text_of(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

MaskedConv2dShape shape_of(int n, int size, int c, int k, const Window& window, Precision precision) {
  return {{.c = c,
           .k = k,
           .window = window,
           .channel_groups = 1,
           .algorithm = Algorithm::kAuto,
           .precision = precision},
          n,
          size,
          size};
}
MaskedConv2dShape shape_of(int n, int size, int c, int k, int kernel_size, Precision precision) {
  return shape_of(n, size, c, k, masked_square(kernel_size, OwnRow::kCentre), precision);
}

struct GraphCase {
  ConvolutionRequest request;
  bool needed;  // else our own kernels do without

  // Plans for tensors whose channels do not fill vectors take ten seconds to compile: those are left out.
  bool compiles() const { return request.shape.c % 8 == 0; }
};

// The graphs of a model's training step, by layer. Not needed: weight gradients in float32 of the first
// layer, and of 16-bit tensors whose channels do not fill vectors of 16 bytes, which cuDNN does not have.
std::vector<GraphCase> graphs_of_model(int n, int size, int channels, int hidden, int kernel_size,
                                       Precision precision) {
  using enum Convolution;
  const MaskedConv2dShape first = shape_of(n, size, channels, hidden, kernel_size, precision);
  const MaskedConv2dShape middle = shape_of(n, size, hidden, hidden, kernel_size, precision);
  const MaskedConv2dShape head = shape_of(n, size, hidden, channels * 256, 1, precision);
  const bool two_bytes = element_bytes(precision) == 2;
  const bool vectors = hidden % 8 == 0;
  std::vector<GraphCase> cases = {{{kForwardRelu, first}, true},
                                  {{kWeightGradient, first}, !two_bytes},
                                  {{kForwardRelu, middle}, true},
                                  {{kForward, middle}, true},
                                  {{kInputGradient, middle}, true},
                                  {{kInputGradientThroughRelu, middle}, vectors},
                                  {{kWeightGradient, middle}, vectors || !two_bytes},
                                  {{kForward, head}, true},
                                  {{kInputGradient, head}, true},
                                  {{kInputGradientThroughRelu, head}, vectors},
                                  {{kWeightGradient, head}, vectors || !two_bytes}};
  if (precision == Precision::kBf16) {
    for (const auto& shape : {first, middle, head}) cases.push_back({{kWeightGradientRounded, shape}, true});
  }
  return cases;
}

// The graphs of a gated network's training step that a plain one does not have: vertical and horizontal
// windows, of the first layer too, addends, and a convolution without a bias.
std::vector<GraphCase> graphs_of_gated_model(int n, int size, int hidden, Precision precision) {
  using enum Convolution;
  const auto shape = [&](int c, int k, const Window& window) {
    return shape_of(n, size, c, k, window, precision);
  };
  const Window above = {2, 3, 1, 1, OwnRow::kAll}, row = {1, 2, 0, 1, OwnRow::kCentre},
               pixel = masked_square(1, OwnRow::kCentre);
  const MaskedConv2dShape first_vertical = shape(1, 2 * hidden, {4, 7, 3, 3, OwnRow::kNone}),
                          first_horizontal = shape(1, 2 * hidden, {1, 4, 0, 3, OwnRow::kLeft}),
                          vertical = shape(hidden, 2 * hidden, above),
                          horizontal = shape(hidden, 2 * hidden, row),
                          link = shape(2 * hidden, 2 * hidden, pixel),
                          residual = shape(hidden, hidden, pixel);
  const bool two_bytes = element_bytes(precision) == 2;
  return {{{kForward, first_vertical}, true},
          {{kForwardAdd, first_horizontal}, true},
          {{kWeightGradient, first_horizontal}, !two_bytes},
          {{kForward, vertical}, true},
          {{kInputGradient, vertical}, true},
          {{kWeightGradient, vertical}, true},
          {{kForwardAdd, horizontal}, true},
          {{kInputGradientAdd, horizontal}, true},
          {{kWeightGradient, horizontal}, true},
          {{kForwardWithoutBias, link}, true},
          {{kInputGradientAdd, link}, true},
          {{kForwardAdd, residual}, true},
          {{kForwardAddRelu, residual}, true},
          {{kInputGradientAdd, residual}, true}};
}

// The default model, one for colour images, and the preset whose 126 channels do not fill vectors.
std::vector<GraphCase> all_graphs(Precision precision) {
  std::vector<GraphCase> cases = graphs_of_model(64, 28, 1, 64, 7, precision);
  const auto add = [&](int hidden) {
    for (const GraphCase& graph : graphs_of_model(64, 32, 3, hidden, 3, precision)) cases.push_back(graph);
  };
  add(128);
  if (precision == Precision::kBf16) add(126);
  for (const GraphCase& graph : graphs_of_gated_model(64, 28, 64, precision)) cases.push_back(graph);
  return cases;
}

int finalized = 0;

// Finalizes the first plan that only needs loading and the first that is compiled, and reads both back from
// JSON.
void test_graph(const CudnnApi& api, const CudnnTarget& target, const GraphCase& graph_case) {
  const ConvolutionRequest& request = graph_case.request;
  const Precision precision = request.shape.precision;
  const std::string name = describe(request);
  const auto start = std::chrono::steady_clock::now();
  int offered = 0, passed = 0, compiled = 0;
  std::string engines;
  try {
    const Graph graph = build_graph(api, target, request);
    for (const EngineConfiguration& configuration : offered_configurations(api, target, graph)) {
      ++offered;
      if (!passes_rules(configuration, precision)) continue;
      check(configuration.tensor_cores == (precision != Precision::kF32), name + ": tensor cores as asked");
      check(configuration.deterministic && configuration.float_sums && !configuration.transforms,
            name + ": exact");
      const bool first =
          configuration.compiled_at_run_time ? compiled++ == 0 && graph_case.compiles() : passed == compiled;
      ++passed;
      if (!first) continue;
      const Descriptor plan = make_plan(api, target, configuration);
      const std::string json = plan_to_json(plan);
      const Descriptor again = plan_from_json(api, target, json);
      check(plan_to_json(again) == json, name + ": the same plan after a round trip through JSON");
      ++finalized;
      engines += " e" + std::to_string(configuration.engine) +
                 (configuration.compiled_at_run_time ? " compiled" : "");
    }
  } catch (const Error& error) {
    check(false, name + ": " + error.what());
    return;
  }
  // Strict float32 is what our own kernels are for; what cuDNN adds there is welcome.
  if (graph_case.needed && precision != Precision::kF32) check(passed > 0, name + ": no plan");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%-58s offered %2d, usable %2d, of them compiled at run time %2d, %.2f s%s\n", name.c_str(),
              offered, passed, compiled, seconds, engines.c_str());
}

void test_graphs(const CudnnApi& api, const CudnnTarget& target, const std::vector<std::string>& precisions) {
  static constexpr const char* kNames[] = {"f32", "tf32", "bf16", "f16"};
  for (int i = 0; i < 4; ++i) {
    if (std::find(precisions.begin(), precisions.end(), kNames[i]) == precisions.end()) continue;
    for (const GraphCase& graph : all_graphs(static_cast<Precision>(i))) test_graph(api, target, graph);
  }
  std::printf("%d plans finalized\n", finalized);
}

// A 7 x 7 convolution of which the upper `rows` rows are there.
std::vector<EngineConfiguration> configurations_of_rows(const CudnnApi& api, const CudnnTarget& target,
                                                        int64_t rows) {
  const auto tensor = [&](int64_t id, std::vector<int64_t> d) {
    Descriptor tensor(api, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_BFLOAT16);
    tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, d);
    tensor.set(CUDNN_ATTR_TENSOR_STRIDES, std::vector<int64_t>{d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]});
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{16});
    tensor.finalize();
    return tensor;
  };
  using Pair = std::vector<int64_t>;
  Graph graph{{}, Descriptor(api, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)};
  graph.parts.push_back(tensor(1, {64, 64, 28, 28}));
  graph.parts.push_back(tensor(2, {64, 64, rows, 7}));
  graph.parts.push_back(tensor(3, {64, 64, 28, 28}));
  Descriptor& convolution = graph.parts.emplace_back(api, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Pair{3, 3});
  convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Pair{rows - 4, 3});
  convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Pair{1, 1});
  convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, Pair{1, 1});
  convolution.finalize();
  Descriptor& forward = graph.parts.emplace_back(api, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, graph.parts[3]);
  forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, graph.parts[0]);
  forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, graph.parts[1]);
  forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, graph.parts[2]);
  forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f);
  forward.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
  forward.finalize();
  graph.graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, forward);
  graph.graph.finalize();
  return offered_configurations(api, target, graph);
}

// On Hopper the engines for sm_90 take no more than 32 taps: the 28 of the cropped filter, not all 49.
void test_cropping(const CudnnApi& api, const CudnnTarget& target) {
  const auto engines = [](const std::vector<EngineConfiguration>& configurations) {
    std::set<int64_t> engines;
    for (const auto& configuration : configurations) engines.insert(configuration.engine);
    return engines;
  };
  const auto cropped = configurations_of_rows(api, target, 4), full = configurations_of_rows(api, target, 7);
  std::set<int64_t> gained = engines(cropped);
  for (const int64_t engine : engines(full)) gained.erase(engine);
  const auto of_gained = std::count_if(
      cropped.begin(), cropped.end(),
      [&](const EngineConfiguration& configuration) { return gained.contains(configuration.engine); });
  std::printf("4x7: %zu configurations, 7x7: %zu; %zu of engines that 7x7 does not get\n", cropped.size(),
              full.size(), static_cast<size_t>(of_gained));
  check(cropped.size() > 2 * full.size(), "the cropped filter has more configurations than the full one");
  check(of_gained > 10 && gained.contains(cropped.front().engine),
        "the best of them are of engines for it alone");
}

// The inode tells a file that was written anew from one that was only read.
ino_t inode_of(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

void test_cache(const std::shared_ptr<const CudnnLibrary>& library, const std::string& profile,
                const std::string& folder) {
  setenv("PIXELCNN_CACHE", folder.c_str(), 1);
  std::string line;
  for (const char c : profile) {
    if (c != '\n') line += c;
  }
  const auto path_of = [&](const ConvolutionRequest& request) {
    return CudnnCache().path_of(describe(request) + " | cuDNN " + cudnn_version_text(library->version) +
                                " | " + line);
  };
  const auto open = [&] { return open_cudnn_for_profile(library, profile); };
  const ConvolutionTrial none;

  const ConvolutionRequest forward{Convolution::kForwardRelu, shape_of(64, 28, 64, 64, 7, Precision::kBf16)};
  const std::string path = path_of(forward);
  auto cudnn = open();
  check(cudnn->find(forward) == nullptr, "nothing is found before it was prepared");
  const ConvolutionPlan* plan = cudnn->prepare(forward, none);
  if (!check(plan != nullptr, "a plan is chosen")) return;
  check(cudnn->find(forward) == plan && cudnn->prepare(forward, none) == plan, "and kept");
  const std::string engine = plan->engine();
  const int64_t bytes = plan->workspace_bytes();
  const ino_t first = inode_of(path);
  check(first != 0, "it is in the cache on disk");

  plan = open()->prepare(forward, none);
  check(inode_of(path) == first, "another opening reads it");
  cudnn = open();
  plan = cudnn->prepare(forward, none);
  check(plan != nullptr && plan->engine() == engine && plan->workspace_bytes() == bytes, "as the same plan");

  const std::string whole = text_of(path);
  std::string damaged = whole;
  damaged[whole.size() / 2] ^= 1;
  for (const std::string& text : {damaged, whole.substr(0, whole.size() / 2), std::string()}) {
    std::ofstream(path) << text;
    cudnn = open();
    plan = cudnn->prepare(forward, none);
    check(plan != nullptr && plan->engine() == engine, "a damaged file is passed over");
    check(text_of(path) == whole, "and written anew");
  }
  // A file that is whole but whose plan cuDNN does not take.
  CudnnCache().write(describe(forward) + " | cuDNN " + cudnn_version_text(library->version) + " | " + line,
                     {false, Convolution::kForwardRelu, engine, "{\"no\": \"plan\"}"});
  cudnn = open();
  plan = cudnn->prepare(forward, none);
  check(plan != nullptr && text_of(path) == whole, "a plan that cuDNN refuses is passed over");

  // Nothing is offered: our own kernels, and that is kept too.
  const ConvolutionRequest nothing{Convolution::kWeightGradient, shape_of(64, 28, 1, 64, 7, Precision::kF16)};
  cudnn = open();
  check(cudnn->prepare(nothing, none) == nullptr && inode_of(path_of(nothing)) != 0,
        "our own kernels are a choice");
  check(open()->prepare(nothing, none) == nullptr, "that is read as well");

  // One request for two graphs.
  const ConvolutionRequest weight{Convolution::kWeightGradient, shape_of(64, 28, 1, 64, 7, Precision::kBf16)};
  plan = cudnn->prepare(weight, none);
  check(plan != nullptr && plan->convolution() == Convolution::kWeightGradientRounded,
        "a request for a gradient in float32 may get a rounded one in bfloat16");
  const auto candidates = cudnn->candidates(forward);
  check(candidates.size() > 10 && candidates.front()->engine() == engine, "candidates in cuDNN's order");

  try {
    candidates.front()->execute({}, nullptr, nullptr);
    check(false, "a plan without a device does not run");
  } catch (const Error& error) {
    check(error.code() == "ERR_CUDNN", "and says so");
  }

  cudnn = open();
  cudnn->prepare(forward, none);
  cudnn->exclude(engine);
  check(cudnn->find(forward) != nullptr, "what was prepared before an exclusion stays");
  cudnn = open();
  plan = cudnn->prepare(forward, none);
  check(plan != nullptr && plan->engine() != engine, "an excluded engine is not chosen later");
  setenv("PIXELCNN_CUDNN_EXCLUDE", plan->engine().c_str(), 1);
  const std::string second = plan->engine();
  cudnn = open();
  plan = cudnn->prepare(forward, none);
  check(plan == nullptr || (plan->engine() != engine && plan->engine() != second),
        "nor those of the environment");
}

}  // namespace
}  // namespace pixelcnn::test

int main(int count, char** arguments) {
  using namespace pixelcnn::test;
  if (count < 4) return 2;
  const auto library = load_cudnn(arguments[1]);
  if (library->api == nullptr) {
    std::printf("%s %s\n", library->message.c_str(), library->remedy.c_str());
    return 3;
  }
  const std::string profile = text_of(arguments[2]), part = arguments[3];
  const std::vector<std::string> rest(arguments + 4, arguments + count);
  const CudnnTarget target{.properties = device_properties(*library->api, profile)};
  if (part == "graphs") test_graphs(*library->api, target, rest);
  if (part == "cropping") test_cropping(*library->api, target);
  if (part == "cache") test_cache(library, profile, rest.at(0));
  return check.finish();
}
