// Tests that sums over pixels have the same bits with any number of threads, are accurate, and keep images apart.
import { expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { openDevice } from '../../src/device/device.js';
import { sumPixels } from '../../src/ops/sum-pixels.js';
import { expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';
import { TestRandom } from '../helpers/random.js';
import { sumOverPixels } from '../oracle/condition.js';

const device = testDevice();

async function sums(
  on: Device,
  x: Float32Array,
  shape: readonly [number, number, number, number],
): Promise<Float32Array> {
  const [y] = await runOps(on, [x], (r) => r.output(sumPixels(r, 'sum', r.input('x', shape))));
  return new Float32Array(y!);
}

it.each([
  [1, 200],
  [5, 33],
  [40, 3],
])('%i images of %i channels have the same sums with any number of threads', async (n, c) => {
  const x = new TestRandom(8).normals(n * 28 * 28 * c);
  const expected = await sums(device(), x, [n, 28, 28, c]);
  for (const threads of [1, 2, 5]) {
    const own = await openDevice({ backend: 'cpu', threads });
    expectSameBits(`${threads} threads`, await sums(own, x, [n, 28, 28, c]), expected);
    await own.dispose();
  }
});

it('an image has the same sums alone', async () => {
  const [n, h, w, c] = [4, 13, 11, 37];
  const x = new TestRandom(9).normals(n * h * w * c);
  const together = await sums(device(), x, [n, h, w, c]);
  for (let image = 0; image < n; image += 1) {
    const alone = x.subarray(image * h * w * c, (image + 1) * h * w * c);
    const expected = await sums(device(), alone, [1, h, w, c]);
    expectSameBits(`image ${image}`, together.subarray(image * c, (image + 1) * c), expected);
  }
});

it('is more accurate than one value after the other', async () => {
  // Rounding errors of a sum grow with the values that it adds one after the other: 64 pixels, then 4096 such sums.
  const pixels = 2 ** 18;
  const bound = (64 + pixels / 64) * 2 ** -24;
  const x = new Float32Array(pixels).fill(0.1);
  const [sum] = await sums(device(), x, [1, 512, 512, 1]);
  const [exact] = sumOverPixels(x, 1, 1);
  expect(Math.abs(sum! / exact! - 1)).toBeLessThan(bound);
  const oneByOne = x.reduce((before, value) => Math.fround(before + value), 0);
  expect(Math.abs(oneByOne / exact! - 1)).toBeGreaterThan(bound);
});

it('keeps NaN in its image and channel', async () => {
  const x = new Float32Array(2 * 3 * 3 * 21).fill(1);
  x[3 * 3 * 21 + 4 * 21 + 20] = Number.NaN;
  const y = await sums(device(), x, [2, 3, 3, 21]);
  expect([...y].map((value, i) => (value === 9 ? -1 : i)).filter((i) => i >= 0)).toEqual([41]);
});
