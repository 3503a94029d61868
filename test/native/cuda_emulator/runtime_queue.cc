// Holds the work of streams. Normally work runs as it is enqueued. In deferred mode it waits and runs at a
// random moment, at the latest when CUDA promises that it is done.
#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "runtime.h"
#include "stream.h"

namespace emulator {

namespace {

struct Queues {
  std::vector<std::shared_ptr<EmulatedStream>> busy;  // those with work
  std::mt19937_64 random;
  uint64_t seed = 0;  // of `random`

  size_t random_below(size_t bound) {
    if (seed != options.deferred) random.seed(seed = options.deferred);
    return random() % bound;
  }
};

// Never destroyed, as the runtime.
Queues& queues() {
  static Queues* const instance = std::make_unique<Queues>().release();
  return *instance;
}

// Nobody is left to tell of a failure but later calls.
void run_first(EmulatedStream& stream) {
  const Work work = std::move(stream.pending.front());
  stream.pending.pop_front();
  ++stream.done;
  if (stream.pending.empty()) {
    std::erase_if(queues().busy, [&](const auto& busy) { return busy.get() == &stream; });
  }
  const cudaError_t status = work.run();
  if (status != cudaSuccess) runtime().sticky = status;
}

// Streams are in no order with each other.
void run_any() {
  const std::shared_ptr<EmulatedStream> stream = queues().busy[queues().random_below(queues().busy.size())];
  run_first(*stream);
}

bool can_run() { return !queues().busy.empty() && runtime().sticky == cudaSuccess; }

}  // namespace

void add_work(EmulatedStream& stream, std::vector<Work> work) {
  if (work.empty()) return;
  if (stream.pending.empty()) queues().busy.push_back(stream.shared_from_this());
  stream.enqueued += work.size();
  std::move(work.begin(), work.end(), std::back_inserter(stream.pending));
  if (options.deferred == 0) return run_until(stream, stream.enqueued);
  run_some(8);
}

void run_until(const EmulatedStream& stream, uint64_t position) {
  while (stream.done < position && can_run()) run_any();
}

void run_all() {
  while (can_run()) run_any();
}

void run_some(size_t one_in) {
  if (!can_run() || queues().random_below(one_in) != 0) return;
  size_t most = 0;
  for (const auto& stream : queues().busy) most += stream->pending.size();
  for (size_t left = 1 + queues().random_below(most); left > 0 && can_run(); --left) run_any();
}

void forget_work() {
  for (const auto& stream : std::exchange(queues().busy, {})) {
    stream->pending.clear();
    stream->done = stream->enqueued;
  }
}

}  // namespace emulator
