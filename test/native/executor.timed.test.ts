// Tests with a model of a GPU that the native executor keeps two steps in flight.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../build/executor_test', import.meta.url));

describe('the executor', () => {
  const run = (...args: string[]) => {
    expect(existsSync(program), 'run scripts/build/setup.mjs --tests').toBe(true);
    return spawnSync(program, args, { encoding: 'utf8', timeout: 60_000 });
  };

  it('enqueues at least 90% of the steps while the one before is running', () => {
    const { stdout, status } = run('200');
    console.info(stdout.trim());
    expect(status).toBe(0);
  });

  it('does not where it only waits for the running step', () => {
    const { stdout, status } = run('50', 'plant');
    expect(stdout).toMatch(/^\d+ of 50 steps/);
    expect(status).toBe(1);
  });
});
