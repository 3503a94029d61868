// Tests an op of the op table from its row, on the CPU and on a GPU in every precision.
import { describe, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { precisions } from '../../src/device/precision.js';
import { checkGradients, checkReference, checkRegion } from './op-checks.js';
import type { OpCase, OpRow, RegionCase } from './op-row.js';
import { TestRandom, withSeed } from './random.js';

/** Defines the tests of a row. `devices` are the CPU and a GPU, which is emulated where there is none. */
export function testOp(row: OpRow, devices: { cpu: () => Device; gpu: () => Device }): void {
  const first = row.draw(new TestRandom(0), 0);
  const drawn = (cases: number, seed: number, body: (opCase: OpCase, random: TestRandom) => Promise<void>) =>
    withSeed(seed, async (random, at) => {
      for (let index = 0; index < cases; index += 1) {
        const opCase = row.draw(random, index);
        at(`case ${index}: ${opCase.text}`);
        await body(opCase, random);
      }
    });

  describe(row.op, () => {
    it(`agrees with float64 loops, ${row.cases} cases`, async () => {
      await drawn(row.cases, 1, (opCase) => checkReference(devices.cpu(), opCase, 'f32'));
    });

    it.each(precisions)('agrees with float64 loops on a GPU in %s', async (precision) => {
      await drawn(Math.ceil(row.cases / 8), 2, (opCase) => checkReference(devices.gpu(), opCase, precision));
    });

    if (first.gradients !== undefined) {
      it('has the gradients of finite differences', async () => {
        await drawn(Math.ceil(row.cases / 4), 3, (opCase, random) => {
          return checkGradients(devices.cpu(), opCase, random);
        });
      });
    }

    const { drawRegion } = row;
    if (drawRegion === undefined) return;
    const regions = (cases: number, seed: number, body: (regionCase: RegionCase) => Promise<void>) =>
      withSeed(seed, async (random, at) => {
        for (let index = 0; index < cases; index += 1) {
          const regionCase = drawRegion.call(row, random, index);
          at(`case ${index}: ${regionCase.text}`);
          await body(regionCase);
        }
      });
    it('has the bits of whole images on fronts and in rows', async () => {
      await regions(row.cases, 4, (regionCase) => checkRegion(devices.cpu(), regionCase, 'f32'));
    });
    it.each(precisions)(
      'has the bits of whole images on fronts and in rows on a GPU in %s',
      async (precision) => {
        await regions(Math.ceil(row.cases / 10), 5, (regionCase) => {
          return checkRegion(devices.gpu(), regionCase, precision);
        });
      },
    );
  });
}
