// Adam steps of whole models against PyTorch's in float64 (../shared/oracle). Gradients: test/golden.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import { type Device, openDevice } from '../../src/device.js';
import { PixelCNN } from '../../src/models/pixelcnn.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { expectClose, relativeL2 } from '../helpers/close.js';
import { OracleFile, oracleMissing, skipAloud } from '../helpers/shared-files.js';

const hyper = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0,
  maxGradientNorm: 0,
  emaDecay: 0,
};

let device: Device;
beforeAll(async () => {
  device = await openDevice({ backend: 'cpu' });
});
afterAll(() => device.dispose());

describe.each(['pixelcnn_default', 'pixelcnn_small_binary', 'pixelcnn_rgb'])('%s', (name) => {
  const missing = oracleMissing(`${name}.safetensors`);
  describe.skipIf(skipAloud(`Adam steps of ${name}`, missing))('three Adam steps', () => {
    it.each(['direct', 'winograd'] as const)('%s: losses and parameters', async (algorithm) => {
      const oracle = new OracleFile(`${name}.safetensors`);
      const model = await PixelCNN.load(device, encodeSafetensors(oracle.startingWith('param.')));
      const [count, , height, width] = oracle.shape('images') as [number, number, number, number];
      const options = { height, width, dynamic: false, algorithm };
      const step = await TrainingStep.create(model.internals(), options);
      const bytes = Uint8Array.from(oracle.nhwc('images'));
      const batch = { bytes, count, index: new Uint32Array(count), random: [0, 0, 0] as const };
      const { lr, losses } = JSON.parse(oracle.metadata.adam!) as { lr: number; losses: number[] };
      const dimensions = (bytes.length / count) * count;
      for (const [i, loss] of losses.entries()) {
        const { nats } = await step.run(batch, { ...hyper, learningRate: lr });
        const mean = nats.reduce((sum, value) => sum + value, 0) / dimensions;
        expectClose(`loss of step ${i}`, [mean], [loss]);
      }
      for (const [parameter, { data }] of await model.parameters()) {
        const expected = oracle.values(`after.${parameter}`);
        // Dead taps of the oracle hold random values; ours are 0.
        const live = expected.map((value, i) => (parameter.endsWith('.weight') && data[i] === 0 ? 0 : value));
        expectClose(`${parameter} after Adam`, data, live);
      }
      step.dispose();
      await model.dispose();
    });
  });
});

it('the comparison notices a wrong learning rate', () => {
  expect(relativeL2([1.001], [1])).toBeGreaterThan(1e-5);
});
