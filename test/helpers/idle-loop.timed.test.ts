// Tests that a block of the main thread is a delay of its own event loop, and not of the idle one beside it.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { besideIdleLoop } from './idle-loop.mjs';

it.each([
  ['all of the work', () => undefined],
  ['the end of the work', () => sleep(50)],
])('a block that is %s is seen', async (_, before) => {
  const { own, idle, value } = await besideIdleLoop(async () => {
    await before();
    for (const end = performance.now() + 500; performance.now() < end; );
    return 7;
  });
  expect(value).toBe(7);
  expect(own.max).toBeGreaterThan(490);
  expect(idle.max).toBeLessThan(own.max / 2);
});
