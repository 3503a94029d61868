// Part `training`: 200 steps of the default model. In f32 the loss curve is the CPU's, in bf16 (f16 where there is no
// bf16) close to it; a second run and one without graphs have the same bits.
import { openDevice, PixelCNN } from '../../dist/index.js';
import { trainSchema } from '../../dist/train/options.js';
import { TrainingStep } from '../../dist/train/training-step.js';
import { waves } from './waves.mjs';

const hyper = trainSchema.parse({ maxGradientNorm: 1 });
const limits = { f32: 1e-4, reduced: 1e-2 };

export async function training({ emulated }) {
  const problem = emulated
    ? { model: { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 }, steps: 12, batch: 2, side: 6 }
    : { model: {}, steps: 200, batch: 16, side: 28 };
  const failures = [];
  const cpu = await trainOn({ backend: 'cpu' }, problem);
  if (!(cpu.losses.at(-1) < cpu.losses[0])) failures.push('the CPU did not learn');
  const f32 = await trainOn({ backend: 'cuda', precision: 'f32' }, problem);
  const reduced = await trainOn({ backend: 'cuda' }, problem);
  const again = await trainOn({ backend: 'cuda' }, problem);
  process.env.PIXELCNN_GRAPHS = '0';
  const oneByOne = await trainOn({ backend: 'cuda' }, problem);
  delete process.env.PIXELCNN_GRAPHS;

  const differences = {
    f32: worstRatio(f32.losses, cpu.losses),
    reduced: worstRatio(reduced.losses, cpu.losses),
  };
  for (const [name, limit] of Object.entries(limits)) {
    if (!(differences[name] <= limit))
      failures.push(`${name}: losses differ from the CPU's by ${differences[name]}, limit ${limit}`);
  }
  if (!sameBits(reduced, again)) failures.push('a second run has other bits');
  if (!sameBits(reduced, oneByOne)) failures.push('graphs and ops one by one have different bits');
  return {
    failures,
    ...problem,
    reducedPrecision: reduced.precision,
    lossDifference: differences,
    losses: { cpu: ends(cpu.losses), f32: ends(f32.losses), reduced: ends(reduced.losses) },
  };
}

/** Mean nats per image of every step, and all weights after the last. */
async function trainOn(deviceOptions, { model: config, steps, batch, side }) {
  const device = await openDevice(deviceOptions);
  const model = await PixelCNN.create(device, { ...config, seed: 0 });
  const images = waves(4 * batch, side, side, 1, 1);
  const step = await TrainingStep.create(model.internals(), {
    height: side,
    width: side,
    dynamic: false,
    // On the CPU auto is Winograd: its rounding moves parameters that have hardly a gradient, which Adam amplifies.
    algorithm: device.info.backend === 'cpu' ? 'direct' : 'auto',
  });
  const losses = [];
  for (let i = 0; i < steps; i += 1) {
    const first = (i % 4) * batch * side * side;
    const bytes = images.data.subarray(first, first + batch * side * side);
    const { nats } = await step.run(
      { bytes, count: batch, index: new Uint32Array(batch), random: [0, 0, 0] },
      hyper,
    );
    losses.push(nats.reduce((sum, value) => sum + value, 0) / batch);
  }
  const { parameters } = await step.snapshot();
  const weights = [...parameters.values()].map(({ data }) => Buffer.from(data.buffer));
  await device.dispose();
  return { losses, weights: Buffer.concat(weights), precision: device.info.precision };
}

function worstRatio(actual, expected) {
  return Math.max(...actual.map((value, i) => Math.abs(value / expected[i] - 1)));
}

function sameBits(a, b) {
  return a.losses.every((value, i) => Object.is(value, b.losses[i])) && a.weights.equals(b.weights);
}

function ends(losses) {
  return { first: losses[0], last: losses.at(-1) };
}
