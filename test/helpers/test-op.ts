// Tests an op of the op table from its row, on the CPU in f32 and bf16 and on a GPU in every precision.
import { describe, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { type Precision, precisions } from '../../src/device/precision.js';
import { checkGradients, checkReference, checkRegion } from './op-checks.js';
import type { OpCase, OpRow, RegionCase } from './op-row.js';
import { TestRandom, withSeed } from './random.js';

/**
 * Defines the tests of a row. `devices` are the CPU and a GPU, which is emulated where there is none; `onCpu` are the
 * precisions of the CPU.
 */
export function testOp(
  row: OpRow,
  devices: { cpu: () => Device; gpu: () => Device },
  onCpu: readonly Precision[],
): void {
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
    it.each(onCpu)(`agrees with float64 loops in %s, ${row.cases} cases`, async (precision) => {
      await drawn(row.cases, 1, (opCase) => checkReference(devices.cpu(), opCase, precision));
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
    it.each(onCpu)('has the bits of whole images on fronts and in rows in %s', async (precision) => {
      await regions(row.cases, 4, (regionCase) => checkRegion(devices.cpu(), regionCase, precision));
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
