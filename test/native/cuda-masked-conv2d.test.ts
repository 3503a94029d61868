// Runs the tests of the CUDA convolution kernels in the emulator: against the CPU, and around plans of
// cuDNN.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));

function run(program: string, args: string[], variables = {}) {
  expect(existsSync(build + program), 'run scripts/build/setup.mjs --tests').toBe(true);
  return spawnSync(build + program, args, { encoding: 'utf8', env: { ...process.env, ...variables } });
}

describe('masked convolutions on the emulated GPU', () => {
  it.each<[string, string, string[], Record<string, string>?]>([
    ['every access checked', 'cuda_masked_conv2d_test_checked', ['200', '1']],
    ['threads in a random order', 'cuda_masked_conv2d_test_plain', ['100', '2', '5']],
    ['lists of filters packed, every access checked', 'cuda_masked_conv2d_pack_test_checked', ['200', '1']],
    ['lists of filters packed in a random order', 'cuda_masked_conv2d_pack_test_plain', ['200', '2', '5']],
    ['around a plan of cuDNN', 'cuda_masked_conv2d_plan_test_checked', []],
    [
      'tensor cores that truncate',
      'cuda_masked_conv2d_test_plain',
      ['100', '3'],
      { PIXELCNN_EMULATOR_TRUNCATING_SUMS: '1' },
    ],
  ])('%s', { timeout: 300_000 }, (_title, program, args, variables) => {
    const result = run(program, args, variables);
    expect(result.stdout).toMatch(/^\d{3,} passed, 0 failed\n$/);
    expect(result.status).toBe(0);
  });
});
