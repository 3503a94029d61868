// Measures how long a cache line takes from one processor to another: core_latency [most processors=8].
// Prints JSON: {"processors": [0, 1], "pairs": [{"processors": [0, 1], "ns": 28.1}]} with the median one-way
// time of each pair, or {"reason": "..."} where it cannot be measured. scripts/bench/machine.mjs runs it.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace {

#if defined(__linux__)
constexpr int kSamples = 31;
constexpr int kRoundTrips = 500;  // in a sample
constexpr int kStop = -1;

// Returns the processors that this process may use, or a part of them if they are more than `most`: half are
// the first ones, which often share a cache, and the others are spread over the rest, which often do not.
std::vector<int> choose_processors(size_t most) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> usable;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return usable;  // a set of that many does not fit
  for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
    if (CPU_ISSET(processor, &set)) usable.push_back(processor);
  }
  if (usable.size() <= most) return usable;
  const size_t together = (most + 1) / 2, apart = most - together;
  std::vector<int> chosen(usable.begin(), usable.begin() + static_cast<std::ptrdiff_t>(together));
  for (size_t i = 1; i <= apart; ++i)
    chosen.push_back(usable[together - 1 + (usable.size() - together) * i / apart]);
  return chosen;
}

bool pin_to(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
}

// Two threads take turns: one sets `turn` to odd numbers, the other to the even numbers that follow.
struct alignas(256) Line {
  std::atomic<int> turn{0};
};

// Returns the median time of one way in ns, or -1 if a thread could not be pinned.
double one_way(int first, int second) {
  Line line;
  std::atomic<int> pinned{0};
  std::atomic<bool> failed{false};
  std::thread echo([&] {
    if (!pin_to(second)) failed = true;
    ++pinned;
    for (int expected = 1;; expected += 2) {
      int seen;
      while ((seen = line.turn.load(std::memory_order_acquire)) != expected) {
        if (seen == kStop) return;
      }
      line.turn.store(expected + 1, std::memory_order_release);
    }
  });
  std::vector<double> samples;
  std::thread measure([&] {
    if (!pin_to(first)) failed = true;
    ++pinned;
    while (pinned < 2) std::this_thread::yield();
    int turn = 0;
    // The first sample is not measured.
    for (int sample = 0; sample <= kSamples && !failed; ++sample) {
      const auto start = std::chrono::steady_clock::now();
      for (int trip = 0; trip < kRoundTrips; ++trip) {
        line.turn.store(turn + 1, std::memory_order_release);
        turn += 2;
        while (line.turn.load(std::memory_order_acquire) != turn) {
        }
      }
      const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
      if (sample > 0) samples.push_back(time.count() / (2 * kRoundTrips));
    }
    line.turn.store(kStop, std::memory_order_release);
  });
  measure.join();
  echo.join();
  if (failed) return -1;
  std::nth_element(samples.begin(), samples.begin() + kSamples / 2, samples.end());
  return samples[kSamples / 2];
}

int measure_pairs(size_t most) {
  const std::vector<int> processors = choose_processors(most);
  if (processors.size() < 2) {
    std::printf("{\"reason\": \"%s\"}\n",
                processors.empty() ? "the system does not tell which processors this process may use"
                                   : "this process may use one processor only");
    return 0;
  }
  std::printf("{\"processors\": [");
  for (size_t i = 0; i < processors.size(); ++i) std::printf("%s%d", i > 0 ? ", " : "", processors[i]);
  std::printf("], \"pairs\": [");
  for (size_t i = 0; i < processors.size(); ++i) {
    for (size_t j = i + 1; j < processors.size(); ++j) {
      const double ns = one_way(processors[i], processors[j]);
      if (ns < 0) {
        std::fprintf(stderr, "a thread could not be pinned to processor %d or %d\n", processors[i],
                     processors[j]);
        return 1;
      }
      std::printf("%s{\"processors\": [%d, %d], \"ns\": %.1f}", i + j > 1 ? ", " : "", processors[i],
                  processors[j], ns);
    }
  }
  std::printf("]}\n");
  return 0;
}
#else
int measure_pairs(size_t) {
  std::printf("{\"reason\": \"threads can be pinned to processors on Linux only\"}\n");
  return 0;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const int most = argc > 1 ? std::atoi(argv[1]) : 8;
  return measure_pairs(static_cast<size_t>(most > 2 ? most : 2));
}
