// Measures single ops for traffic_test, and prints what they move between threads.
#pragma once
#include <set>

#include "kernels_harness.h"
#include "traffic_outputs.h"
#include "traffic_runtime.h"

namespace pixelcnn::test {

inline constexpr int64_t kL2Bytes = 1 << 20;

class TrafficTest {
 public:
  TrafficTest(const Kernels& kernels, int threads) : kernels_(kernels), random_(1), pool_(threads) {
    std::printf("%-26s %10s %10s %10s %10s %10s  %s\n", "op (bytes)", "scratch", "of a task", "crossing",
                "between", "bound", "shape");
  }

  void convolutions();
  void default_network();
  void heads();
  void samplers();
  void ops_without_sums();
  void planted();
  void planted_fault();
  void every_op_was_measured();
  Report report;

 private:
#define PIXELCNN_X(Op)                                                                            \
  void measure(const Op& op, const std::string& shape, int64_t bound, int64_t most = INT64_MAX) { \
    Buffer<std::byte> scratch(kernels_.workspace_##Op(op, pool_.threads()));                      \
    begin_traffic(scratch.data(), scratch.count());                                               \
    OutputVisitor outputs(kernels_);                                                              \
    Op described = op;                                                                            \
    described.describe(outputs);                                                                  \
    Context context{pool_, scratch.data()};                                                       \
    kernels_.run_##Op(op, context);                                                               \
    demand(#Op, shape, scratch.count(), end_traffic(), bound, most);                              \
    measured_.insert(#Op);                                                                        \
  }
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X

  // Prints a row of the table, and demands at most `bound` crossing bytes and `most` bytes in a task.
  void demand(const std::string& op, const std::string& shape, int64_t scratch, const Traffic& traffic,
              int64_t bound, int64_t most) {
    std::printf("%-26s %10lld %10lld %10lld %10lld %10lld  %s\n", op.c_str(), static_cast<long long>(scratch),
                static_cast<long long>(traffic.largest_task), static_cast<long long>(traffic.crossing),
                static_cast<long long>(traffic.between), static_cast<long long>(bound), shape.c_str());
    const std::string name = op + " " + shape;
    report.check(traffic.crossing <= bound, name + ": more crosses than the partial sums");
    report.check(traffic.between == 0, name + ": something crosses before the last loop, which adds sums up");
    report.check(traffic.of_outputs == 0, name + ": a thread reads outputs that another wrote");
    report.check(traffic.unwritten == 0, name + ": scratch memory is read that nothing has written");
    report.check(traffic.largest_task <= most, name + ": a task's scratch memory exceeds the L2 cache");
  }

  Buffer<float> random(int64_t count) {
    Buffer<float> buffer(count);
    random_.fill(buffer, false, 0.2f);
    return buffer;
  }
  Buffer<std::byte> pack(const FilterShape& shape, Direction direction) {
    Buffer<float> weight = random(shape.weight_count());
    Buffer<std::byte> packed(kernels_.packed_bytes(shape, direction));
    measure(MaskedConv2dPack{{{weight, packed.data(), shape, direction}}, 1}, describe(shape), 0);
    return packed;
  }
  void forward(const MaskedConv2dShape& shape, int64_t most = INT64_MAX);
  void backward_input(const MaskedConv2dShape& shape, int64_t most = INT64_MAX);
  void backward_weight(const MaskedConv2dShape& shape);

  const Kernels& kernels_;
  Random random_;
  ThreadPool pool_;
  std::set<std::string> measured_;
};

}  // namespace pixelcnn::test
