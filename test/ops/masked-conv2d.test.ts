// Tests the masked convolution: random shapes against float64 loops, exact integers, and bits that must not move.
import { afterAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { maskedConv2d, maskedConv2dBackward } from '../../src/functional.js';
import type { Algorithm } from '../../src/program/algorithm.js';
import { expectClose, expectSameBits, maxError, relativeL2 } from '../helpers/close.js';
import { openCpu, testDevice } from '../helpers/models.js';
import { type TestRandom, withSeed } from '../helpers/random.js';
import {
  type ConvSizes,
  convBackward,
  convForward,
  maskOf,
  type SquareShape,
} from '../oracle/masked-conv2d.js';

type Conv = ConvSizes & SquareShape;
const device = testDevice();

interface Case {
  readonly shape: Conv;
  readonly input: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly gradOutput: Float32Array;
}

const channelChoices = [1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 31, 33, 65];
const sideChoices = [1, 1, 2, 3, 4, 5, 7, 8, 9, 12, 17];

/** A shape of at most `budget` products, so that the float64 loops stay fast. */
function randomShape(random: TestRandom, budget: number): Conv {
  for (;;) {
    const groups = random.pick([1, 1, 3]);
    const shape: Conv = {
      n: random.pick([1, 1, 2, 3]),
      h: random.pick(sideChoices),
      w: random.pick(sideChoices),
      c: random.pick(channelChoices),
      k: random.pick(channelChoices),
      size: random.pick([1, 3, 3, 5, 5, 7, 7, 9]),
      mask: random.pick(['A', 'B']),
      groups,
    };
    const { n, h, w, c, k, size } = shape;
    if (c >= groups && k >= groups && n * h * w * c * k * size * size <= budget) return shape;
  }
}

function drawCase(shape: Conv, draw: (length: number) => Float32Array): Case {
  const { n, h, w, c, k, size } = shape;
  return {
    shape,
    input: draw(n * h * w * c),
    weight: draw(k * c * size * size),
    bias: draw(k),
    gradOutput: draw(n * h * w * k),
  };
}

async function runKernels(
  on: Device,
  { shape, input, weight, bias, gradOutput }: Case,
  algorithm: Algorithm,
) {
  const { n, h, w, c, k, size, mask, groups } = shape;
  const options = {
    input,
    inputShape: [n, h, w, c] as [number, number, number, number],
    weight,
    bias,
    outChannels: k,
    kernelSize: size,
    maskType: mask,
    channelGroups: groups,
    algorithm,
  };
  const [y, back] = await Promise.all([
    maskedConv2d(on, options),
    maskedConv2dBackward(on, { ...options, gradOutput }),
  ]);
  return { y, ...back };
}

type Results = Awaited<ReturnType<typeof runKernels>>;
const resultNames = ['y', 'gradInput', 'gradWeight', 'gradBias'] as const;

function expectSameResults(what: string, actual: Results, expected: Results): void {
  for (const name of resultNames) expectSameBits(`${what}: ${name}`, actual[name], expected[name]);
}

function references({ shape, input, weight, bias, gradOutput }: Case) {
  return {
    y: convForward(shape, input, weight, bias),
    ...convBackward(shape, input, weight, gradOutput),
  };
}

/** The size of products where the result itself is 0. */
const scaleOf = ({ input, gradOutput }: Case) => Math.hypot(...input) * Math.hypot(...gradOutput);

/** Indices of weights under the mask. */
function deadWeights(shape: Conv): number[] {
  const { c, k, size } = shape;
  return Array.from({ length: k * c * size * size }, (_, i) => i).filter((i) => {
    const filter = Math.floor(i / (size * size));
    const tap = i % (size * size);
    return maskOf(shape, Math.floor(filter / c), filter % c, Math.floor(tap / size), tap % size) === 0;
  });
}

const text = (shape: Conv) => JSON.stringify(shape);

describe('random shapes', () => {
  it('600 shapes agree with the float64 loops, direct and winograd', async () => {
    const worst = new Map<string, number>();
    const seen = { groups3: 0, maskA: 0, side1: 0 };
    await withSeed(20_26, async (random, at) => {
      for (let index = 0; index < 600; index += 1) {
        const shape = randomShape(random, index % 20 === 0 ? 6e6 : 8e5);
        seen.groups3 += shape.groups === 3 ? 1 : 0;
        seen.maskA += shape.mask === 'A' ? 1 : 0;
        seen.side1 += shape.h === 1 || shape.w === 1 ? 1 : 0;
        at(`case ${index}: ${text(shape)}`);
        const values = drawCase(shape, (length) => random.normals(length));
        const expected = references(values);
        const dead = deadWeights(shape);
        for (const algorithm of ['direct', 'winograd'] as const) {
          const actual = await runKernels(device(), values, algorithm);
          for (const name of resultNames) {
            const what = `${algorithm} ${name}`;
            // Where there is nothing but padding to sum, direct gives zeros, Winograd its transforms' rounding.
            const isZero = algorithm === 'winograd' && expected[name].every((value) => value === 0);
            const distance = isZero
              ? Math.hypot(...actual[name]) / scaleOf(values)
              : expectClose(what, actual[name], expected[name]);
            if (isZero) expect(distance, what).toBeLessThanOrEqual(1e-5);
            worst.set(`${algorithm} ${name}`, Math.max(distance, worst.get(`${algorithm} ${name}`) ?? 0));
          }
          const touched = dead.find((i) => actual.gradWeight[i] !== 0);
          if (touched !== undefined)
            expect.fail(
              `${algorithm}: gradWeight[${touched}] under the mask is ${actual.gradWeight[touched]}`,
            );
        }
      }
    });
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(60);
    const report = [...worst].map(([name, distance]) => `${name} ${distance.toExponential(1)}`);
    console.info(`largest relative L2 distances: ${report.join(', ')}`);
  });

  it('a wrong result does not pass the comparison', () => {
    const reference = Float64Array.of(1, 2, 3, 4);
    expect(relativeL2(Float32Array.of(1, 2, 3, 4.0002), reference)).toBeGreaterThan(1e-5);
    expect(relativeL2(Float32Array.of(1, 2, 3, Number.NaN), reference)).toBe(Number.POSITIVE_INFINITY);
    expect(relativeL2(Float32Array.of(1e-9), Float64Array.of(0))).toBe(Number.POSITIVE_INFINITY);
    expect(relativeL2(Float32Array.of(1, 2, 3), reference)).toBe(Number.POSITIVE_INFINITY);
  });

  it('200 shapes of small integers agree exactly with direct', async () => {
    await withSeed(99, async (random, at) => {
      for (let index = 0; index < 200; index += 1) {
        const shape = randomShape(random, 4e5);
        at(`case ${index}: ${text(shape)}`);
        const values = drawCase(shape, (length) => random.integers(length, -4, 4));
        const expected = references(values);
        const actual = await runKernels(device(), values, 'direct');
        for (const name of resultNames) {
          const { error, index: where } = maxError(
            actual[name].map((value) => value + 0),
            expected[name],
          );
          if (error !== 0) expect.fail(`${name}[${where}] is off by ${error}`);
        }
      }
    });
  });
});

describe('bits', () => {
  const opened: Device[] = [];
  afterAll(() => Promise.all(opened.map((each) => each.dispose())));

  it.each(['', 'baseline', 'avx2'])(
    '1, 2 and 3 threads give the same ones, instruction set "%s"',
    async (isa) => {
      const devices: Device[] = [];
      for (const threads of [1, 2, 3]) {
        const each = await openCpu(isa, threads);
        if (each === undefined) return;
        expect(each.info.threads).toBe(threads);
        if (isa !== '') expect(each.info.instructionSet).toBe(isa);
        devices.push(each);
        opened.push(each);
      }
      await withSeed(5, async (random, at) => {
        for (let index = 0; index < 24; index += 1) {
          const shape = randomShape(random, 3e6);
          at(`case ${index}: ${text(shape)}`);
          const values = drawCase(shape, (length) => random.normals(length));
          for (const algorithm of ['direct', 'winograd'] as const) {
            const [one, ...others] = await Promise.all(
              devices.map((on) => runKernels(on, values, algorithm)),
            );
            others.forEach((other, i) => {
              expectSameResults(`${algorithm}, ${i + 2} threads`, other, one!);
            });
            for (const name of resultNames)
              expectClose(`${algorithm} ${name}`, one![name], references(values)[name]);
          }
        }
      });
    },
  );

  it('weights under the mask are never read: NaN there changes nothing', async () => {
    await withSeed(31, async (random, at) => {
      for (let index = 0; index < 60; index += 1) {
        const shape = randomShape(random, 1e6);
        at(`case ${index}: ${text(shape)}`);
        const clean = drawCase(shape, (length) => random.normals(length));
        const dirty = { ...clean, weight: clean.weight.slice() };
        for (const i of deadWeights(shape)) {
          clean.weight[i] = 0;
          dirty.weight[i] = random.pick([Number.NaN, Number.POSITIVE_INFINITY, 1e38]);
        }
        for (const algorithm of ['direct', 'winograd', 'auto'] as const) {
          const expected = await runKernels(device(), clean, algorithm);
          expectSameResults(algorithm, await runKernels(device(), dirty, algorithm), expected);
        }
      }
    });
  });

  it('an image does not depend on its companions in the batch, direct and winograd', async () => {
    await withSeed(17, async (random, at) => {
      for (let index = 0; index < 40; index += 1) {
        const shape = { ...randomShape(random, 5e5), n: 3 };
        at(`case ${index}: ${text(shape)}`);
        const values = drawCase(shape, (length) => random.normals(length));
        const perImage = shape.h * shape.w;
        for (const algorithm of ['direct', 'winograd'] as const) {
          const all = await runKernels(device(), values, algorithm);
          for (let image = 0; image < 3; image += 1) {
            const part = (array: Float32Array, channels: number) =>
              array.slice(image * perImage * channels, (image + 1) * perImage * channels);
            const alone = await runKernels(
              device(),
              {
                ...values,
                shape: { ...shape, n: 1 },
                input: part(values.input, shape.c),
                gradOutput: part(values.gradOutput, shape.k),
              },
              algorithm,
            );
            expectSameBits(`${algorithm} y of image ${image}`, alone.y, part(all.y, shape.k));
            expectSameBits(
              `${algorithm} gradInput of image ${image}`,
              alone.gradInput,
              part(all.gradInput, shape.c),
            );
          }
        }
      }
    });
  });
});
