// Fuzzes a reader of untrusted files with mutations of valid files.
//
// We have a fuzzer of our own because jazzer.js 4.0.0, the only coverage-guided one that npm installs without
// a download, needs glibc 2.38, and Debian 12 has 2.36. Instead of coverage, it looks at outcomes (what was
// read, or which check failed) and keeps inputs with a new one.
//
// Usage: node test/fuzz/fuzz.mjs TARGET SEED EXECUTIONS SECONDS. Ends after that many executions or seconds.
// Prints JSON.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { idxTarget } from './idx-target.mjs';
import { Random } from './mutations.mjs';
import { plantedTargets } from './planted.mjs';
import { pngTarget } from './png-target.mjs';
import { safetensorsTarget } from './safetensors-target.mjs';

const targets = { safetensors: safetensorsTarget, idx: idxTarget(), png: pngTarget(), ...plantedTargets };

const hangSeconds = 10;
const memoryBytes = 256 * 2 ** 20;
const poolSize = 1000;
const inputBytes = 8192;

if (isMainThread) watch();
else await fuzz(workerData);

/** Runs the fuzzer in a worker and reports on it, even if it hangs, exits or runs out of memory. */
function watch() {
  const [target, seed, executions, seconds] = process.argv.slice(2);
  // The state of the worker: the number of executions, the length of the input, and the input itself.
  const shared = new SharedArrayBuffer(16 + inputBytes);
  const state = new Int32Array(shared, 0, 4);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: {
      target,
      seed: Number(seed),
      executions: Number(executions),
      seconds: Number(seconds),
      shared,
    },
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  const report = (result) => {
    console.log(JSON.stringify({ target, seed: Number(seed), ...result }));
    process.exit(0);
  };
  const finding = (problem) => {
    const input = Buffer.from(shared, 16, state[1]).toString('base64');
    report({ executions: state[0], finding: { problem, input } });
  };
  let before = -1;
  let still = 0;
  setInterval(() => {
    still = state[0] === before ? still + 1 : 0;
    before = state[0];
    if (still >= hangSeconds) finding(`no end after ${hangSeconds} s`);
  }, 1000);
  worker.on('message', (message) =>
    message.problem === undefined ? report(message) : finding(message.problem),
  );
  worker.on('error', (error) => finding(String(error)));
  worker.on('exit', (code) => finding(`the reader ended its thread with code ${code}`));
}

async function fuzz({ target: name, seed, executions, seconds, shared }) {
  Error.stackTraceLimit = 0; // creating stack traces, which nobody reads, would take most of the time
  const target = targets[name];
  const state = new Int32Array(shared, 0, 4);
  const current = new Uint8Array(shared, 16);
  const random = new Random(seed);
  const pool = target.seeds().map((bytes) => Buffer.from(bytes));
  const outcomes = new Map();
  const end = performance.now() + seconds * 1000;
  const usage = () => process.memoryUsage.rss();
  const base = usage();
  let slowest = 0;
  let count = 0;
  for (; count < executions; count += 1) {
    const input =
      count < pool.length ? pool[count] : target.mutate(random, random.pick(pool), random.pick(pool));
    const bytes = new Uint8Array(input); // a copy at offset 0, like the bytes of a file
    current.set(bytes.subarray(0, inputBytes));
    state[1] = bytes.length;
    state[0] = count;
    const start = performance.now();
    let outcome;
    try {
      outcome = target.run(bytes);
    } catch (error) {
      return parentPort.postMessage({ problem: String(error) });
    }
    slowest = Math.max(slowest, performance.now() - start);
    if (!outcomes.has(outcome) && outcomes.size < poolSize) {
      outcomes.set(outcome, 0);
      pool.push(Buffer.from(bytes));
    }
    if (count % 256 !== 0) continue;
    // node:zlib frees the memory of a failed call only when the event loop runs.
    await new Promise(setImmediate);
    if (usage() - base > memoryBytes) {
      return parentPort.postMessage({ problem: `memory grew by more than ${memoryBytes} bytes` });
    }
    if (performance.now() > end) break;
  }
  const accepted = [...outcomes.keys()].filter((outcome) => outcome.startsWith('accept')).length;
  parentPort.postMessage({
    executions: count,
    outcomes: outcomes.size,
    accepted,
    slowestMilliseconds: slowest,
  });
}
