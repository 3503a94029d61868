// Runs the tests of the other CUDA kernels in the emulator, against the CPU backend.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));

function run(program: string, args: string[], variables = {}) {
  expect(existsSync(build + program), 'run scripts/build/setup.mjs --tests').toBe(true);
  return spawnSync(build + program, args, { encoding: 'utf8', env: { ...process.env, ...variables } });
}

describe('quantise, Philox, Adam, gates, the head and the draws on the emulated GPU', () => {
  it.each<[string, string, string[], Record<string, string>?]>([
    ['every access checked', 'cuda_ops_test_checked', ['200', '4', 'all', '3']],
    ['threads in a random order', 'cuda_ops_test_plain', ['200', '2', 'all', '5']],
    [
      'tensor cores that truncate',
      'cuda_ops_test_plain',
      ['200', '3', 'all'],
      { PIXELCNN_EMULATOR_TRUNCATING_SUMS: '1' },
    ],
  ])('%s', { timeout: 300_000 }, (_title, program, args, variables) => {
    const result = run(program, args, variables);
    expect(result.stdout).toMatch(/^\d{4,} passed, 0 failed\n$/m);
    expect(result.stdout).not.toMatch(/FAILED/);
    // Draws from logits that differ from the CPU's by rounding: a few in a million may fall to the next level.
    const [, different, draws] = /CPU's: (\d+) of (\d+) draws/.exec(result.stdout) ?? [];
    expect(Number(draws)).toBeGreaterThan(5000);
    expect(Number(different)).toBeLessThan(5);
    expect(result.status).toBe(0);
  });
});
