// Loaded into a server before its own code: measures the delay of its event loop and counts unhandled rejections.
import { monitorEventLoopDelay } from 'node:perf_hooks';

const resolution = 1;
const histogram = monitorEventLoopDelay({ resolution });
let unhandledRejections = 0;

process.on('unhandledRejection', (reason) => {
  unhandledRejections += 1;
  process.stderr.write(`unhandled rejection: ${reason instanceof Error ? reason.stack : reason}\n`);
});

/** The histogram holds the time between ticks, which is `resolution` when nothing is late. */
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
// The channel to the parent must not keep a server alive that is done.
process.channel?.unref();
