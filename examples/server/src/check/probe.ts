// Measures the delay of the event loop and counts unhandled rejections in the process that loads it.
import { monitorEventLoopDelay } from 'node:perf_hooks';

const resolution = 1;
const histogram = monitorEventLoopDelay({ resolution });
let unhandledRejections = 0;

process.on('unhandledRejection', (reason) => {
  unhandledRejections += 1;
  process.stderr.write(`unhandled rejection: ${reason instanceof Error ? reason.stack : reason}\n`);
});

/**
 * Converts a value of the histogram, the time between two ticks, to a delay. Without delay it is
 * `resolution`.
 */
const milliseconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - resolution);

process.on('message', (message) => {
  if (message === 'begin') {
    histogram.reset();
    histogram.enable();
    unhandledRejections = 0;
  } else if (message === 'report') {
    process.send?.({
      delay: {
        p50: milliseconds(histogram.percentile(50)),
        p99: milliseconds(histogram.percentile(99)),
        max: milliseconds(histogram.max),
      },
      unhandledRejections,
    });
  }
});
// The channel to the parent process must not keep the server alive when it wants to end.
process.channel?.unref();
