// The CUDA kernels of masked convolution in the emulator, against the CPU and around plans of cuDNN.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));

function run(program: string, ...args: string[]) {
  expect(existsSync(build + program), 'run scripts/setup.mjs --tests').toBe(true);
  return spawnSync(build + program, args, { encoding: 'utf8' });
}

describe('masked convolutions on the emulated GPU', () => {
  it.each([
    ['every access checked', 'cuda_masked_conv2d_test_checked', ['200', '1']],
    ['threads in a random order', 'cuda_masked_conv2d_test_plain', ['100', '2', '5']],
    ['around a plan of cuDNN', 'cuda_masked_conv2d_plan_test_checked', []],
  ])('%s', { timeout: 300_000 }, (_title, program, args) => {
    const result = run(program, ...args);
    expect(result.stdout).toMatch(/^\d{3,} passed, 0 failed\n$/);
    expect(result.status).toBe(0);
  });
});
