// The process of one part: runs its function, whose findings become lines of JSON on standard output.
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { messageOf } from './part.mjs';

const { module, run, settings } = JSON.parse(process.argv[2]);
new Worker(new URL('parent-watch.mjs', import.meta.url)).unref();

try {
  const { [run]: part } = await import(module);
  await part({ ...settings, say });
} catch (error) {
  // An error with a code says what is wrong; of any other the place is needed.
  say({ failure: error?.code === undefined ? String(error?.stack ?? error) : messageOf(error) });
}
// A device that was not disposed, or a thread of a library, must not keep the process.
process.exit();

/** Returns when the row is with the parent: a crash in the next call must not take it along. */
function say(row) {
  let rest = Buffer.from(`${JSON.stringify(row)}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
