// Compares each op of a training step on one thread and on all threads.
import { traceOps } from './op-rates.mjs';

/** Ops below this share of the step are left out. */
const leastShare = 0.03;
/** The part of the number of threads by which an op has to be faster: of 2 threads, 1.7 and 1.6. */
const leastEfficiency = (op) => (op === 'maskedConv2dBackwardWeight' ? 0.85 : 0.8);

/** Returns {@link speedups} of a network's training step, given what {@link traceOps} says of it on all threads. */
export async function measureSpeedups(library, device, model, how, all) {
  const { threads, precision } = device.info;
  const single = await library.openDevice({ backend: 'cpu', threads: 1, precision });
  try {
    const { training } = await traceOps(library, single, model, how);
    return speedups(training, all, threads);
  } finally {
    await single.dispose();
  }
}

/**
 * Returns for each op of two lists of {@link traceOps} that takes more than 3% of the step on all threads: { label, count,
 * share, one, all, speedup, bound, ok }, the slowest first. `one` and `all` are the milliseconds on one and on all threads.
 */
export function speedups(one, all, threads) {
  const step = all.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const single = new Map(one.map(({ label, milliseconds }) => [label, milliseconds]));
  return all
    .map(({ label, op, count, milliseconds }) => {
      const before = single.get(label);
      if (before === undefined) throw new Error(`the step on one thread has no op '${label}'`);
      const speedup = before / milliseconds;
      const bound = leastEfficiency(op) * threads;
      const times = { one: before, all: milliseconds, speedup, bound, ok: speedup >= bound };
      return { label, count, share: milliseconds / step, ...times };
    })
    .filter(({ share }) => share > leastShare)
    .sort((a, b) => b.share - a.share);
}

/** Formats {@link speedups} as a table. */
export function speedupTable(rows, threads) {
  const lines = rows.map(({ label, count, share, one, all, speedup, bound, ok }) =>
    [
      `${count} x`.padStart(5),
      label.padEnd(40),
      `${(100 * share).toFixed(0)}% of the step`.padStart(15),
      `${one.toFixed(2)} -> ${all.toFixed(2)} ms`.padStart(20),
      `${speedup.toFixed(2)} x`.padStart(8),
      ok ? '' : `  below ${bound.toFixed(2)} x`,
    ]
      .join(' ')
      .trimEnd(),
  );
  return [
    `\ntraining step, 1 -> ${threads} threads, ops above ${100 * leastShare}% of the step`,
    ...lines,
  ].join('\n');
}
