// Tests Adam steps of whole models against PyTorch's in float64. Gradients are tested in test/golden.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import { type Device, openDevice } from '../../src/device/device.js';
import type { PixelCnnConfig } from '../../src/models/config.js';
import type { NamedArrays } from '../../src/models/parameters.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { trainSchema } from '../../src/train/options.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { expectClose, relativeL2 } from '../helpers/close.js';
import { GoldenFile, goldenMissing } from '../helpers/golden-files.js';
import { skipAloud } from '../helpers/skip.js';
import { type ImageSize, type Kink, networkGradients } from '../oracle/network.js';

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

/** The same steps in float64 loops, with values near a kink put on one side of it in the first step. */
function adamInFloat64(
  config: PixelCnnConfig,
  initial: ReadonlyMap<string, ArrayLike<number>>,
  size: ImageSize,
  levels: ArrayLike<number>,
  steps: number,
  kink: Kink,
) {
  const parameters = new Map([...initial].map(([key, values]) => [key, Float64Array.from(values)]));
  const moments = new Map(
    [...initial].map(([key, { length }]) => [
      key,
      { m: new Float64Array(length), v: new Float64Array(length) },
    ]),
  );
  let nearestKink = Number.POSITIVE_INFINITY;
  for (let t = 1; t <= steps; t += 1) {
    const step = networkGradients(config, parameters, size, levels, t === 1 ? kink : undefined);
    if (t === 1) nearestKink = step.nearestKink;
    for (const [key, values] of parameters) {
      const { m, v } = moments.get(key)!;
      const gradient = step.gradients.get(key)!;
      for (let i = 0; i < values.length; i += 1) {
        m[i] = 0.9 * m[i]! + 0.1 * gradient[i]!;
        v[i] = 0.999 * v[i]! + 0.001 * gradient[i]! ** 2;
        const root = Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8;
        values[i] = values[i]! - (1e-3 * (m[i]! / (1 - 0.9 ** t))) / root;
      }
    }
  }
  return { parameters, nearestKink };
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
      for (const [i, loss] of losses.entries()) {
        const { nats } = (await step.run(batch, hyper))!;
        const mean = nats.reduce((sum, value) => sum + value, 0) / dimensions;
        expectClose(`loss of step ${i}`, [mean], [loss]);
      }
      const after = await model.parameters();
      const expected = new Map([...after.keys()].map((key) => [key, oracle.values(`after.${key}`)]));
      if (worstOf(after, expected) > 1e-5) {
        // A value within float32's rounding of a ReLU's kink may fall on either side: then the other one must fit.
        const size = { n: count, h: height, w: width };
        const initial = new Map([...after.keys()].map((key) => [key, oracle.values(`param.${key}`)]));
        const sides = (['on', 'off'] as const).map((side) =>
          adamInFloat64(model.config, initial, size, oracle.nhwc('levels'), losses.length, {
            within: 1e-8,
            side,
          }),
        );
        console.info(`${name} ${algorithm}: a value lies ${sides[0]!.nearestKink} from a kink`);
        expect(sides[0]!.nearestKink, 'parameters differ, and no value lies on a kink').toBeLessThan(1e-8);
        const distances = sides.map(({ parameters }) => worstOf(after, parameters));
        expect(Math.min(...distances), 'distance to Adam on either side').toBeLessThanOrEqual(1e-5);
      }
      step.dispose();
      await model.dispose();
    });
  });
});

it('the comparison notices a wrong learning rate', () => {
  expect(relativeL2([1.001], [1])).toBeGreaterThan(1e-5);
});
