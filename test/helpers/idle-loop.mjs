// Measures the delay of this thread's event loop, and of one that has nothing to do, on the same machine at the
// same time. Other programs delay both; what blocks this thread delays only its own.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

/** Milliseconds between two looks at an event loop. */
const resolution = 1;

const idle = `
  const { parentPort } = require('node:worker_threads');
  const histogram = require('node:perf_hooks').monitorEventLoopDelay({ resolution: ${resolution} });
  histogram.enable();
  parentPort.once('message', () => {
    histogram.disable();
    const { count, max } = histogram;
    parentPort.postMessage({ count, max, p50: histogram.percentile(50), p99: histogram.percentile(99) });
  });
  parentPort.postMessage('started');
`;

/** In milliseconds: by how much looks were later than they should have been. */
function delaysOf({ count, max, p50, p99 }) {
  const milliseconds = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution);
  return { count, max: milliseconds(max), p50: milliseconds(p50), p99: milliseconds(p99) };
}

/**
 * Runs `work` and returns its `value` and the delays of two event loops meanwhile: `own`, that of this thread, and
 * `idle`, that of a thread with nothing to do.
 */
export async function besideIdleLoop(work) {
  const worker = new Worker(idle, { eval: true });
  const answer = () =>
    new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  try {
    await answer();
    const histogram = monitorEventLoopDelay({ resolution });
    histogram.enable();
    await sleep(2 * resolution);
    const value = await work();
    // A block is seen by the look that comes after it.
    await sleep(2 * resolution);
    histogram.disable();
    const { count, max } = histogram;
    const own = delaysOf({ count, max, p50: histogram.percentile(50), p99: histogram.percentile(99) });
    const idleDelays = answer();
    worker.postMessage('stop');
    return { value, own, idle: delaysOf(await idleDelays) };
  } finally {
    await worker.terminate();
  }
}
