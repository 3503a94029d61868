// Tests Adam steps of whole models against PyTorch's in float64. Gradients are tested in test/golden.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import { type Device, openDevice } from '../../src/device/device.js';
import type { NamedArrays } from '../../src/models/parameters.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { trainSchema } from '../../src/train/options.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { expectClose, relativeL2 } from '../helpers/close.js';
import { GoldenFile, goldenMissing } from '../helpers/golden-files.js';
import { measureGradients } from '../helpers/gradients.js';
import { fitKinks, roundingNearKinks } from '../helpers/kinks.js';
import { skipAloud } from '../helpers/skip.js';
import { networkGradients } from '../oracle/network.js';

type Gradients = ReturnType<typeof networkGradients>;

/** The optimizer of a golden file, and the loss before each of its steps. */
interface AdamMetadata {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly losses: readonly number[];
}

/** The largest relative L2 distance of any parameter. Dead taps, 0 in ours, hold anything in PyTorch's. */
function worstOf(actual: NamedArrays, expected: ReadonlyMap<string, ArrayLike<number>>): number {
  return Math.max(
    ...[...actual].map(([key, { data }]) => {
      const live = Array.from(expected.get(key)!, (value, i) =>
        key.endsWith('.weight') && data[i] === 0 ? 0 : value,
      );
      return relativeL2(data, live);
    }),
  );
}

type Float64Map = ReadonlyMap<string, Float64Array>;

/** Adam in float64, whose parameters are given for every step: a difference in one step does not grow in the next. */
class AdamInFloat64 {
  #m = new Map<string, Float64Array>();
  #v = new Map<string, Float64Array>();
  #t = 0;

  step(before: NamedArrays, gradients: NamedArrays): Float64Map {
    this.#t += 1;
    const t = this.#t;
    const combined = (map: Map<string, Float64Array>, combine: (value: number, gradient: number) => number) =>
      new Map(
        [...gradients].map(([key, { data }]) => [
          key,
          Float64Array.from(data, (gradient, i) => combine(map.get(key)?.[i] ?? 0, gradient)),
        ]),
      );
    this.#m = combined(this.#m, (value, gradient) => 0.9 * value + 0.1 * gradient);
    this.#v = combined(this.#v, (value, gradient) => 0.999 * value + 0.001 * gradient ** 2);
    return new Map(
      [...before].map(([key, { data }]) => [
        key,
        Float64Array.from(data, (value, i) => {
          const root = Math.sqrt(this.#v.get(key)![i]! / (1 - 0.999 ** t)) + 1e-8;
          return value - (1e-3 * (this.#m.get(key)![i]! / (1 - 0.9 ** t))) / root;
        }),
      ]),
    );
  }
}

let device: Device;
beforeAll(async () => {
  device = await openDevice({ backend: 'cpu' });
});
afterAll(() => device.dispose());

describe.each(['pixelcnn_default', 'pixelcnn_small_binary', 'pixelcnn_rgb'])('%s', (name) => {
  const missing = goldenMissing(`${name}.safetensors`);
  describe.skipIf(skipAloud(`Adam steps of ${name}`, missing))('three Adam steps', () => {
    it.each(['direct', 'winograd'] as const)('%s: losses and parameters', async (algorithm) => {
      const oracle = new GoldenFile(`${name}.safetensors`);
      const model = await PixelCNN.load(device, encodeSafetensors(oracle.startingWith('param.')));
      const [count, , height, width] = oracle.shape('images') as [number, number, number, number];
      const options = { height, width, dynamic: false, algorithm };
      const step = await TrainingStep.create(model.internals(), options);
      const bytes = Uint8Array.from(oracle.nhwc('images'));
      const batch = { bytes, count };
      const { lr, betas, eps, losses } = JSON.parse(oracle.metadata.adam!) as AdamMetadata;
      const [beta1, beta2] = betas;
      const hyper = { ...trainSchema.parse({}), learningRate: lr, beta1, beta2, epsilon: eps };
      const dimensions = (bytes.length / count) * count;
      const images = { data: bytes, count, height, width, channels: model.config.channels };
      const adam = new AdamInFloat64();
      let before = await model.parameters();
      const steps: { before: NamedArrays; gradients: NamedArrays }[] = [];
      for (const [i, loss] of losses.entries()) {
        const { gradients } = await measureGradients(model, images, algorithm);
        const { nats } = (await step.run(batch, hyper))!;
        const mean = nats.reduce((sum, value) => sum + value, 0) / dimensions;
        expectClose(`loss of step ${i}`, [mean], [loss]);
        const after = await model.parameters();
        expect(worstOf(after, adam.step(before, gradients)), `Adam in step ${i}`).toBeLessThanOrEqual(1e-6);
        steps.push({ before, gradients });
        before = after;
      }
      const expected = new Map([...before.keys()].map((key) => [key, oracle.values(`after.${key}`)]));
      if (worstOf(before, expected) > 1e-5) {
        // Adam's first steps have the size of the learning rate however small a gradient is, and a value within rounding
        // of a ReLU's kink may fall on either side. So small differences grow; then the gradients of each step must fit.
        // They were 4e-4 apart after three steps, at most.
        const apart = worstOf(before, expected);
        console.info(`${name} ${algorithm}: the parameters are ${apart} from PyTorch's`);
        expect(apart, 'distance of the parameters').toBeLessThan(1e-3);
        const levels = oracle.nhwc('levels');
        const within = roundingNearKinks[algorithm];
        for (const [i, { before: parameters, gradients }] of steps.entries()) {
          const reference = new Map([...parameters].map(([key, { data }]) => [key, data]));
          const distances = (side: Gradients) =>
            [...gradients].map((array) => worstOf(new Map([array]), side.gradients));
          const best = fitKinks(
            (flipped) =>
              networkGradients(model.config, reference, { n: count, h: height, w: width }, levels, {
                within,
                flipped,
              }),
            distances,
            1e-5,
          );
          expect(Math.max(...distances(best)), `gradients of step ${i}`).toBeLessThanOrEqual(1e-5);
        }
      }
      step.dispose();
      await model.dispose();
    });
  });
});

it('the comparison notices a wrong learning rate', () => {
  expect(relativeL2([1.001], [1])).toBeGreaterThan(1e-5);
});
