// The CUDA kernels of masked convolution in the emulator on many random shapes: at least 200 in each precision.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));

// A program goes through the four precisions in turn.
it.each([
  ['in the order of threads', 'cuda_masked_conv2d_test_plain', ['800', '11']],
  ['in a random order', 'cuda_masked_conv2d_test_plain', ['800', '12', '7']],
  ['every access checked', 'cuda_masked_conv2d_test_checked', ['800', '13']],
])('masked convolutions on the emulated GPU, %s', { timeout: 900_000 }, (_title, program, args) => {
  const { stdout, status } = spawnSync(build + program, args, { encoding: 'utf8' });
  expect(stdout).toMatch(/^\d{5} passed, 0 failed\n$/);
  expect(status).toBe(0);
});
