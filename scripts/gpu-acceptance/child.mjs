// Runs one part in a separate process and prints its findings as lines of JSON.
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { messageOf } from './part.mjs';

const { module, run, settings } = JSON.parse(process.argv[2]);
new Worker(new URL('parent-watch.mjs', import.meta.url)).unref();

try {
  const { [run]: part } = await import(module);
  await part({ ...settings, say });
} catch (error) {
  // An error with a code says what is wrong. For any other the stack is needed.
  say({ failure: error?.code === undefined ? String(error?.stack ?? error) : messageOf(error) });
}
// A device that was not disposed, or a thread of a library, must not keep the process.
process.exit();

/** Returns when the parent has the row, so that a crash in the next call cannot lose it. */
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
