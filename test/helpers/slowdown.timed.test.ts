// Tests that the measure of how much other programs slow this machine down sees them.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { expect, it } from 'vitest';
import { slowdown } from './slowdown.mjs';

it('sees as many busy programs as there are processors, and is at least 1', async () => {
  const before = await slowdown(200);
  expect(before).toBeGreaterThanOrEqual(1);
  const busy = Array.from({ length: availableParallelism() }, () =>
    spawn(process.execPath, ['-e', 'process.stdout.write("busy"); for (;;);']),
  );
  try {
    await Promise.all(busy.map((child) => new Promise((resolve) => child.stdout.once('data', resolve))));
    const beside = await slowdown(500);
    console.info(`slowdown ${before.toFixed(2)}, beside ${busy.length} busy programs ${beside.toFixed(2)}`);
    expect(beside).toBeGreaterThan(1.3);
    // They take as much as this process does, and others may do so too.
    expect(beside).toBeLessThan(4 * before);
  } finally {
    for (const child of busy) child.kill('SIGKILL');
  }
});
