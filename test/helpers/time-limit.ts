// Sets time limits that hold on a busy machine too: those of an idle one, times the factor by which others slow it
// down.
import { expect } from 'vitest';
import { slowdown } from './slowdown.mjs';

/** Measures what it is given, and returns its result. */
export type Stopwatch = <T>(work: () => PromiseLike<T> | T) => Promise<T>;

/**
 * Fails unless what `attempt` measures with the stopwatch ends within `limit` milliseconds of an idle machine. Other
 * programs do not hold up all threads alike, so that one of three attempts must do; every attempt must pass its own
 * expectations.
 */
export async function expectWithin(
  limit: number,
  what: string,
  attempt: (stopwatch: Stopwatch) => PromiseLike<void> | void,
): Promise<void> {
  const measured: string[] = [];
  let good = false;
  for (let tries = 0; tries < 3 && !good; tries += 1) {
    const times: number[] = [];
    const before = await slowdown(100);
    await attempt(async (work) => {
      const start = performance.now();
      const result = await work();
      times.push(performance.now() - start);
      return result;
    });
    expect(times.length, `an attempt of ${what} must measure once`).toBe(1);
    const allowed = limit * Math.max(before, await slowdown(100));
    good = times[0]! <= allowed;
    measured.push(`${times[0]!.toFixed(1)} of ${allowed.toFixed(1)}`);
  }
  console.info(`${what}: ${measured.join(', ')} ms`);
  expect(good, `${what} took ${measured.join(', ')} ms`).toBe(true);
}
