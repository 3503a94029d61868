// Runs the program that counts the scratch memory which one thread of a CPU op writes and another reads.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../build/traffic_test', import.meta.url));

/** Returns undefined, with the reason printed, where the processor lacks the instruction set of the program. */
function run(...args: readonly string[]) {
  expect(existsSync(program), 'run scripts/build/setup.mjs --tests').toBe(true);
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 2) {
    console.warn(`SKIPPED traffic of the kernels: ${stdout.trim()}`);
    return undefined;
  }
  expect(stderr).toBe('');
  return { status, stdout };
}

describe('scratch memory of CPU ops', () => {
  it.each(['2', '4', '7'])('only partial sums cross between %s threads', { timeout: 60_000 }, (threads) => {
    const result = run(threads);
    if (result === undefined) return;
    expect(result.stdout.match(/^FAILED .*$/gm) ?? []).toEqual([]);
    expect(result.stdout).toMatch(/[1-9]\d* passed, 0 failed/);
    expect(result.status).toBe(0);
  });

  it('planted: an op that hands over what it wrote is found', () => {
    const result = run('4', 'planted');
    if (result === undefined) return;
    expect(result.stdout).toContain('FAILED planted hands over what it wrote: more crosses than');
    expect(result.status).toBe(1);
  });
});
