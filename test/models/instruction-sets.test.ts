// Tests that the logits of `direct` are the same bits with the kernels of AVX2 and of AVX-512.
import { afterAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import type { PixelCnnOptions } from '../../src/models/config.js';
import type { Algorithm } from '../../src/program/algorithm.js';
import { openCpu, randomImages, randomModel } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { skipAloud } from '../helpers/skip.js';

// One after the other, because a variable of the process chooses the instruction set.
const avx2 = await openCpu('avx2', 2);
const avx512 = await openCpu('avx512', 2);
const baseline = await openCpu('baseline', 2);
afterAll(async () => {
  for (const device of [avx2, avx512, baseline]) await device?.dispose();
});

function missing(devices: Readonly<Record<string, Device | undefined>>): string | undefined {
  const names = Object.keys(devices).filter((name) => devices[name] === undefined);
  return names.length === 0 ? undefined : `this processor or build has no kernels of ${names.join(' and ')}`;
}

interface Sizes {
  readonly count: number;
  readonly height: number;
  readonly width: number;
}

/** Computes the logits of a network with random weights for random images, both the same on every device. */
async function logitsOn(
  device: Device,
  options: PixelCnnOptions,
  { count, height, width }: Sizes,
  algorithm: Algorithm = 'direct',
): Promise<Float32Array> {
  await using model = await randomModel(device, options, 41, 2);
  const images = randomImages(new TestRandom(42), count, height, width, model.config.channels);
  return (await model.logits(images, { algorithm })).data;
}

/** Says how many values differ in their bits; undefined if none does. NaN would be no evidence, so it is refused. */
function difference(one: Float32Array, other: Float32Array): string | undefined {
  expect(one.every(Number.isFinite)).toBe(true);
  expect(one.length).toBe(other.length);
  const [a, b] = [one, other].map(({ buffer, byteOffset, length }) => {
    return new Uint32Array(buffer, byteOffset, length);
  }) as [Uint32Array, Uint32Array];
  const different = a.reduce((count, bits, i) => count + (bits === b[i] ? 0 : 1), 0);
  return different === 0 ? undefined : `${different} of ${a.length} logits`;
}

const wide = { hiddenChannels: 64, layers: 4, kernelSize: 7 } as const;
const square: Sizes = { count: 3, height: 14, width: 14 };

const cases: [PixelCnnOptions, Sizes][] = [
  // Widths around the lanes and the register blocks of both sets, down to one channel.
  ...[1, 7, 8, 9, 16, 17, 31, 33, 48, 65].map((hiddenChannels): [PixelCnnOptions, Sizes] => {
    return [{ hiddenChannels, layers: 3, kernelSize: 3, levels: 16 }, square];
  }),
  [wide, square],
  [
    { ...wide, levels: 2 },
    { count: 1, height: 28, width: 28 },
  ],
  [{ hiddenChannels: 24, layers: 4, kernelSize: 5, channels: 3 }, square],
  [
    { hiddenChannels: 31, layers: 3, kernelSize: 5, channels: 3, levels: 5 },
    { count: 2, height: 5, width: 29 },
  ],
  [
    { hiddenChannels: 10, layers: 3, kernelSize: 3, channels: 2 },
    { count: 5, height: 17, width: 3 },
  ],
  [
    { hiddenChannels: 20, layers: 2, kernelSize: 11 },
    { count: 2, height: 1, width: 40 },
  ],
  [
    { hiddenChannels: 20, layers: 2, kernelSize: 9 },
    { count: 2, height: 40, width: 1 },
  ],
  ...[3, 8, 17, 32].map((hiddenChannels): [PixelCnnOptions, Sizes] => {
    return [{ architecture: 'gated', hiddenChannels, layers: 3, kernelSize: 3, levels: 16 }, square];
  }),
  [
    { architecture: 'gated', hiddenChannels: 24, layers: 3, kernelSize: 5, channels: 3 },
    { count: 2, height: 9, width: 13 },
  ],
  [
    { architecture: 'gated', hiddenChannels: 11, headChannels: 19, layers: 2, kernelSize: 7, channels: 3 },
    { count: 2, height: 8, width: 21 },
  ],
];

describe.skipIf(skipAloud('logits of direct on AVX2 and AVX-512', missing({ avx2, avx512 })))(
  'logits of direct on AVX2 and AVX-512',
  () => {
    it.each(cases)('are the same bits: %o on %o', async (options, sizes) => {
      expect([avx2!.info.instructionSet, avx512!.info.instructionSet]).toEqual(['avx2', 'avx512']);
      const logits = await logitsOn(avx512!, options, sizes);
      expect(difference(logits, await logitsOn(avx2!, options, sizes))).toBeUndefined();
    });

    it('planted: one bit, and another order of sums, are found', async () => {
      const logits = await logitsOn(avx512!, wide, square);
      const nudged = logits.slice();
      new Uint32Array(nudged.buffer)[77]! ^= 1;
      expect(difference(nudged, await logitsOn(avx2!, wide, square))).toMatch(/^1 of /);
      const reordered = await logitsOn(avx2!, wide, square, 'winograd');
      expect(difference(logits, reordered)).toMatch(/^\d+ of /);
    });
  },
);

describe.skipIf(skipAloud('logits of direct without FMA', missing({ avx2, baseline })))(
  'logits of direct on AVX2 and the baseline, which has no fused multiply-add',
  () => {
    // This is why numerics name the instruction set (src/train/numerics.ts).
    it.each([wide, { ...wide, architecture: 'gated', kernelSize: 3 } as const])(
      'are not the same bits: %o',
      async (options) => {
        const logits = await logitsOn(avx2!, options, square);
        expect(difference(logits, await logitsOn(baseline!, options, square))).toMatch(/^\d+ of /);
      },
    );
  },
);
