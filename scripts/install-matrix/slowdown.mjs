// How much slower this machine is for other programs that run on it, so that a limit on time can allow for them.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

const spin = `
  for (const end = performance.now() + 1000; performance.now() < end; );
`;

/** 1 on an idle machine, 2 where other programs take half of the processors. Takes a second of all of them. */
export async function slowdown() {
  const threads = availableParallelism();
  const [before, start] = [process.cpuUsage(), performance.now()];
  const ends = Array.from({ length: threads }, () => {
    const worker = new Worker(spin, { eval: true });
    return new Promise((resolve) => worker.once('exit', resolve));
  });
  await Promise.all(ends);
  const { user, system } = process.cpuUsage(before);
  const wanted = 1000 * threads * (performance.now() - start);
  return Math.max(1, wanted / (user + system));
}

/** Undefined where `seconds` keep to the limit, which the larger of the slowdowns stretches; else a complaint. */
export function timeComplaint(seconds, limit, ...slowdowns) {
  const allowed = limit * Math.max(...slowdowns);
  return seconds < allowed ? undefined : `took ${seconds.toFixed(0)} s of ${allowed.toFixed(0)} s`;
}
