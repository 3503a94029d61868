// Tests that the time limits of tests see what is late, and only that.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { expectWithin, type Stopwatch } from './time-limit.js';

const block = (milliseconds: number) => {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
};
const limited = (work: () => unknown) =>
  expectWithin(50, 'planted', async (stopwatch) => {
    await stopwatch(work);
  });

it.each([
  ['an answer that comes late', () => sleep(1000)],
  ['a main thread that is blocked', () => block(1000)],
])('planted: %s is seen', async (_, work) => {
  await expect(limited(work)).rejects.toThrow(/planted took \d/);
});

it('planted: an attempt that measures nothing is seen', async () => {
  const forgetful = (_stopwatch: Stopwatch) => undefined;
  await expect(expectWithin(50, 'planted', forgetful)).rejects.toThrow('must measure once');
});

it('one of three attempts is enough', async () => {
  let attempts = 0;
  await limited(() => {
    attempts += 1;
    return attempts < 3 ? sleep(1000) : undefined;
  });
  expect(attempts).toBe(3);
});

it('an attempt that fails in another way fails at once', async () => {
  let attempts = 0;
  const failing = limited(() => {
    attempts += 1;
    throw new Error('wrong');
  });
  await expect(failing).rejects.toThrow('wrong');
  expect(attempts).toBe(1);
});
