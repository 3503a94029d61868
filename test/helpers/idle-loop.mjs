// What a time limit is measured against: the delay of an event loop that has nothing to do, on the same machine at the
// same time. Other programs delay it as much as the one under test; a blocked main thread does not.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';

/** Milliseconds between two looks at an event loop. */
const resolution = 1;

const idle = `
  const { parentPort } = require('node:worker_threads');
  const { monitorEventLoopDelay } = require('node:perf_hooks');
  const histogram = monitorEventLoopDelay({ resolution: ${resolution} });
  parentPort.on('message', (message) => {
    if (message === 'start') histogram.enable();
    else histogram.disable();
    const { count, mean, max } = histogram;
    parentPort.postMessage({ count, mean, max, p50: histogram.percentile(50), p99: histogram.percentile(99) });
    if (message === 'start') histogram.reset();
  });
`;

/** Delays in milliseconds: of each look, by how much it was later than it should have been. */
function delaysOf({ count, mean, max, p50, p99 }) {
  // Without a look the mean is NaN, and nothing was late.
  const milliseconds = (nanoseconds) => (count === 0 ? 0 : Math.max(0, nanoseconds / 1e6 - resolution));
  return {
    p50: milliseconds(p50),
    p99: milliseconds(p99),
    max: milliseconds(max),
    total: count * milliseconds(mean),
    count,
  };
}

/**
 * Runs `work` and returns its `value`, its duration in `milliseconds`, and the delays of two event loops meanwhile:
 * `own`, that of this thread, and `idle`, that of a thread with nothing to do.
 */
export async function besideIdleLoop(work) {
  const worker = new Worker(idle, { eval: true });
  const ask = (message) =>
    new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
      worker.postMessage(message);
    });
  try {
    await ask('start');
    const histogram = monitorEventLoopDelay({ resolution });
    histogram.enable();
    const start = performance.now();
    const value = await work();
    const milliseconds = performance.now() - start;
    histogram.disable();
    const { count, mean, max } = histogram;
    const own = { count, mean, max, p50: histogram.percentile(50), p99: histogram.percentile(99) };
    return { value, milliseconds, own: delaysOf(own), idle: delaysOf(await ask('stop')) };
  } finally {
    await worker.terminate();
  }
}
