// Measures how much other programs slow this machine down, so that a limit on time can allow for them.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

const spin = `
  const { workerData, parentPort } = require('node:worker_threads');
  parentPort.once('message', () => {
    for (const end = performance.now() + workerData; performance.now() < end; );
    parentPort.postMessage('ended');
  });
  parentPort.postMessage('ready');
`;

/**
 * Has two threads (one, where there is one processor) compute for so many milliseconds, and compares the processor time
 * that this process got with what it would have got on an idle machine: 1 there, 2 where others take half of it. Two,
 * since a container may be allowed fewer processors than it sees.
 */
export async function slowdown(milliseconds) {
  const threads = Math.min(2, availableParallelism());
  const workers = Array.from({ length: threads }, () => {
    return new Worker(spin, { eval: true, workerData: milliseconds });
  });
  const allSay = () =>
    Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
  await allSay();
  const [before, start] = [process.cpuUsage(), performance.now()];
  const ended = allSay();
  for (const worker of workers) worker.postMessage('start');
  await ended;
  const { user, system } = process.cpuUsage(before);
  const wanted = 1000 * threads * (performance.now() - start);
  await Promise.all(workers.map((worker) => worker.terminate()));
  return Math.max(1, wanted / (user + system));
}
