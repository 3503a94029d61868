// Demands that no op hands scratch memory from one thread to another, except for partial sums.
//   traffic_test [threads=4]         measures all ops and prints a table of their scratch memory and traffic
//   traffic_test <threads> planted   measures an op that hands over everything it wrote, and fails
//
// A task reads what its own thread wrote, or what nobody writes meanwhile: otherwise the bytes travel from
// cache to cache, which takes long where two cores share none. This is counted, not timed, so that a machine
// whose cores share a cache finds the fault too (traffic_runtime.h). Scratch memory that is used between two
// stages of a task must fit the L2 cache of one core.
#include <cstdlib>

#include "traffic_fixture.h"
#include "traffic_planted.h"

namespace pixelcnn::test {

// The traffic of the planted ops is known to the byte, for every way to access memory.
void TrafficTest::planted() {
  const int threads = pool_.threads();
  int64_t handed_over = 0, from_other_threads = 0;
  for (int64_t task = 0; task < kPlantedTasks; ++task) {
    if (simulated_thread(0, task, threads) != simulated_thread(1, task, threads))
      handed_over += kPlantedFloats * int64_t{sizeof(float)};
    if (simulated_thread(0, task, threads) != 0) from_other_threads += sizeof(float);
  }
  report.check(handed_over > 0 && from_other_threads > 0, "planted ops use several threads");
  for (const Access access : kAccesses) {
    Buffer<float> out(kPlantedTasks * kPlantedFloats);
    Buffer<std::byte> scratch((kPlantedTasks + threads) * kPlantedFloats * int64_t{sizeof(float)});
    float* floats = reinterpret_cast<float*>(scratch.data());
    const std::string name = "planted, access " + std::to_string(static_cast<int>(access));
    begin_traffic(scratch.data(), scratch.count());
    hand_over(access, floats, out, pool_);
    const Traffic fault = end_traffic();
    report.check(fault.crossing == handed_over && fault.between == handed_over,
                 name + ": what a second loop reads is counted");
    // The same scratch memory, but as an output.
    begin_traffic(nullptr, 0);
    follow_output(floats, scratch.count() / 4, 4);
    hand_over(access, floats, out, pool_);
    report.check(end_traffic().of_outputs == handed_over, name + ": what is read from an output is counted");
    begin_traffic(scratch.data(), scratch.count());
    keep_with_thread(access, floats, pool_);
    const Traffic sums = end_traffic();
    report.check(sums.crossing == from_other_threads && sums.between == 0,
                 name + ": partial sums are counted, and what a thread keeps is not");
    report.check(sums.largest_task == (kPlantedFloats + 1) * int64_t{sizeof(float)},
                 name + ": the scratch memory of a task is counted");
    demand("planted", name, scratch.count(), sums, kPlantedTasks * int64_t{sizeof(float)}, kL2Bytes);
  }
}

void TrafficTest::planted_fault() {
  Buffer<float> out(kPlantedTasks * kPlantedFloats), scratch(kPlantedTasks * kPlantedFloats);
  const int64_t bytes = scratch.count() * int64_t{sizeof(float)};
  begin_traffic(reinterpret_cast<std::byte*>(scratch.data()), bytes);
  hand_over(Access::kVectors, scratch, out, pool_);
  demand("planted", "hands over what it wrote", bytes, end_traffic(), 0, kL2Bytes);
}

void TrafficTest::every_op_was_measured() {
#define PIXELCNN_X(Op) report.check(measured_.contains(#Op), #Op ": no shape of it is measured here");
  PIXELCNN_OPS(PIXELCNN_X)
#undef PIXELCNN_X
}

namespace {

int run_tests(const Kernels& kernels, int threads, bool planted_fault) {
  TrafficTest test(kernels, threads);
  if (planted_fault) {
    test.planted_fault();
  } else {
    test.convolutions();
    test.default_network();
    test.heads();
    test.samplers();
    test.ops_without_sums();
    test.planted();
    test.every_op_was_measured();
  }
  std::printf("%s: %d passed, %d failed\n", kernels.isa, test.report.passed(), test.report.failed());
  return test.report.failed() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace pixelcnn::test

int main(int argc, char** argv) {
  const pixelcnn::cpu::Kernels* kernels = pixelcnn::cpu::kernels(nullptr);
  if (!kernels) {
    std::printf("this processor lacks the instruction set of the measured kernels\n");
    return 2;
  }
  const int threads = argc > 1 ? std::atoi(argv[1]) : 4;
  if (threads < 2 || threads > pixelcnn::test::kMostThreads) {
    std::printf("2 to %d threads can be simulated\n", pixelcnn::test::kMostThreads);
    return 1;
  }
  return pixelcnn::test::run_tests(*kernels, threads, argc > 2 && std::strcmp(argv[2], "planted") == 0);
}
