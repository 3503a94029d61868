// Tests the CUDA kernels that multiply in block tiles on many random shapes in the emulator, at least 200
// in each precision.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));

// A program goes through the four precisions in turn. Threads run in a random order.
it.each([
  ['convolutions and their gradients', 'cuda_masked_conv2d_test_plain', ['800', '12', '7']],
  ['the sampler', 'cuda_ops_test_plain', ['800', '14', 'sample', '7']],
])('on the emulated GPU, %s', { timeout: 900_000 }, (_title, program, args) => {
  const { stdout, status } = spawnSync(build + program, args, { encoding: 'utf8' });
  expect(stdout).toMatch(/^\d{4,} passed, 0 failed\n$/m);
  expect(status).toBe(0);
});
