// Tests training on the GPU: the CPU's loss curve, the same bits in every run, and graphs that change nothing.
import { describe, expect, it } from 'vitest';
import { type Device, type DeviceOptions, openDevice } from '../../src/device/device.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { openGpu } from '../helpers/cuda.js';
import { randomModel } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const hyper = {
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
  maxGradientNorm: 1,
  emaDecay: 0.99,
};
const networks = [
  { channels: 1, hiddenChannels: 16, layers: 4, levels: 4, kernelSize: 5 },
  { channels: 3, hiddenChannels: 12, layers: 3, levels: 3, kernelSize: 3 },
];
const [count, height, width] = [4, 6, 7] as const;

/** Smooth waves: something that a network of this size can learn. */
function waves(random: TestRandom, channels: number): Uint8Array {
  const data = new Uint8Array(count * height * width * channels);
  for (let image = 0; image < count; image += 1) {
    const [a, b] = [random.uniform() * 4, random.uniform() * 4];
    for (let i = 0; i < height * width * channels; i += 1) {
      const [row, column, channel] = [
        Math.floor(i / channels / width),
        Math.floor(i / channels) % width,
        i % channels,
      ];
      const wave = Math.sin(a + row * 0.7) * Math.cos(b + column * 0.5 + channel);
      data[image * height * width * channels + i] = 127 + 120 * wave;
    }
  }
  return data;
}

/** Losses of `steps` steps on three batches in turn, and the weights after them. */
async function trainOn(device: Device, network: (typeof networks)[number], steps: number) {
  const model = await randomModel(device, network, 5);
  const step = await TrainingStep.create(model.internals(), {
    height,
    width,
    dynamic: false,
    // On the CPU auto is Winograd: its rounding moves parameters that have hardly a gradient, which Adam amplifies.
    algorithm: device.info.backend === 'cpu' ? 'direct' : 'auto',
  });
  const random = new TestRandom(6);
  const batches = Array.from({ length: 3 }, () => ({
    bytes: waves(random, network.channels),
    count,
  }));
  const losses: number[] = [];
  for (let i = 0; i < steps; i += 1) {
    const { nats } = (await step.run(batches[i % 3]!, hyper))!;
    losses.push(nats.reduce((sum, value) => sum + value, 0));
  }
  const { parameters, average } = await step.snapshot();
  const bits = Buffer.concat(
    [...parameters.values(), ...average!.values()].map(({ data }) => Buffer.from(data.buffer)),
  );
  await device.dispose();
  return { losses, bits };
}

function worstRatio(actual: readonly number[], expected: readonly number[]): number {
  return Math.max(...actual.map((value, i) => Math.abs(value / expected[i]! - 1)));
}

describe.each(networks)('%o', (network) => {
  const steps = 60;
  const onGpu = async (options: DeviceOptions = {}, variables = {}, length = steps) =>
    trainOn(await openGpu(options, variables), network, length);

  it('f32 follows the CPU within 1e-4, bf16, f16 and tf32 within 1%', { timeout: 300_000 }, async () => {
    const cpu = await trainOn(await openDevice({ backend: 'cpu' }), network, steps);
    expect(cpu.losses.at(-1)!).toBeLessThan(cpu.losses[0]! * 0.9);
    const gpu = await onGpu();
    expect(worstRatio(gpu.losses, cpu.losses)).toBeLessThan(1e-4);
    for (const precision of ['tf32', 'bf16', 'f16'] as const) {
      const { losses } = await onGpu({ precision });
      const ratio = worstRatio(losses, cpu.losses);
      console.info(`${precision}: losses of ${steps} steps within ${ratio.toExponential(1)} of the CPU's`);
      expect(ratio, precision).toBeLessThan(1e-2);
      // A precision that is ignored would pass the line above.
      expect(ratio, precision).toBeGreaterThan(1e-6);
    }
  });

  it('graphs, ops one by one and a second run give the same bits', { timeout: 300_000 }, async () => {
    const first = await onGpu({ precision: 'bf16' }, {}, 8);
    const again = await onGpu({ precision: 'bf16' }, {}, 8);
    const oneByOne = await onGpu({ precision: 'bf16' }, { PIXELCNN_GRAPHS: '0' }, 8);
    const checked = await onGpu({ precision: 'bf16' }, { PIXELCNN_SYNC: '1' }, 8);
    for (const other of [again, oneByOne, checked]) {
      expect(other.losses).toEqual(first.losses);
      expect(other.bits.equals(first.bits)).toBe(true);
    }
  });
});
