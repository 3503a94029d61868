// Tests the acceptance's comparison with golden vectors on the CPU: correct code keeps its limits, and each kind of
// wrong result misses them.
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { compareWithGolden, limits, readGolden } = await import(`${root}scripts/gpu-acceptance/golden.mjs`);
const file = readGolden(`${root}test/golden/gated_binary.safetensors`);
const cpu = { backend: 'cpu' };

/** The golden file with other values in one tensor. */
const withValues = (changed: string, change: (value: number) => number) => ({
  ...file,
  values: (name: string) => (name === changed ? file.values(name).map(change) : file.values(name)),
  images: (name: string) => (name === changed ? file.images(name).map(change) : file.images(name)),
});

describe('the comparison with golden vectors', () => {
  it('finds the results of the CPU right, far within the limits of f32', async () => {
    const found = await compareWithGolden(cpu, file, limits.f32);
    expect(found).not.toHaveProperty('failure');
    expect(found.differing).toBe(0);
    for (const what of ['logits', 'nats', 'gradients']) {
      expect(found[what]).toBeGreaterThan(0);
      expect(found[what]).toBeLessThan(2e-6);
    }
  });

  it.each([
    ['logits', (value: number) => 1.0001 * value, /^f32: logits differ by 0\.000(1|0999).*, limit 0\.00001$/],
    ['nllNatsPerImage', (value: number) => value + 0.01, /^f32: nats differ by /],
    [
      'grad.layers.1.link.weight',
      (value: number) => 1.0001 * value,
      /^f32: gradients differ by 0\.000(1|0999)/,
    ],
    ['grad.head.0.bias', () => Number.NaN, /^f32: gradients differ by NaN/],
    ['sampledLevels', (value: number) => 1 - value, /^f32: \d+ of \d+ sampled levels differ$/],
  ])('finds other %s wrong', async (name, change, failure) => {
    expect((await compareWithGolden(cpu, withValues(name, change), limits.f32)).failure).toMatch(failure);
  });

  it.each(['tf32', 'f16', 'bf16'])('finds a gradient wrong by a fifth in %s', async (precision) => {
    const changed = withValues('grad.layers.1.link.weight', (value) => value / 0.8);
    const { failure } = await compareWithGolden(cpu, changed, limits[precision]);
    expect(failure).toMatch(/gradients differ by 0\.(2|199)/);
  });
});
