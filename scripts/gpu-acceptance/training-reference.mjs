// Compares a short training run of a device with one on the CPU, where that is well conditioned: over the first
// steps, and at later ones from the CPU's own weights and optimizer state. Over many free steps it is not, because
// Adam divides rounding noise by its own size: two instruction sets of one CPU differ by 13% within 200 steps.
import { openDevice, PixelCNN } from '../../dist/index.js';
import { trainSchema } from '../../dist/train/options.js';
import { TrainingStep } from '../../dist/train/training-step.js';
import { networks, tinyNetworks } from './networks.mjs';
import { relativeL2 } from './part.mjs';
import { waves } from './waves.mjs';

const hyper = trainSchema.parse({ maxGradientNorm: 1 });

/** The largest allowed relative difference of the loss of each of the first steps, in f32. */
const firstLossesLimit = 1e-6;

/**
 * Returns the largest allowed relative differences of the loss and of every gradient tensor (L2) at a state. Each is above
 * what correct code reached on other instruction sets of the CPU and on the emulated GPU. In f32 that was 2e-4: another
 * order of sums moved one activation across 0, where its ReLU sets it to 0. TF32 would give 1e-2. Logits that are stored
 * in 16 bits make the softmax of a trained model wrong by some percent in bf16, and by an eighth of that in f16. A gated
 * network rounds seven tensors in each layer, a plain one rounds one.
 */
export function limitsAt(precision, after, architecture = 'plain') {
  if (precision === 'f32') return { loss: 1e-5, gradient: 2e-3 };
  const beforeTraining = precision === 'bf16' && architecture === 'gated' ? 4 * 2e-2 : 2e-2;
  return { loss: 3e-3, gradient: precision === 'bf16' && after > 0 ? 8 * 2e-2 : beforeTraining };
}

/**
 * What the network of an emulated problem has besides the tiny one: with fewer channels, rounding averages out less, and
 * gradients of a gated network differ by up to 9% in bf16 and 4% in f16.
 */
const wider = { plain: {}, gated: { hiddenChannels: 24, levels: 16 } };

/** Returns the problem to train on. `states` says after how many steps the state is compared. */
export function trainingProblem({ emulated, architecture = 'plain' }) {
  return emulated
    ? {
        model: { ...tinyNetworks[architecture], ...wider[architecture] },
        batch: 8,
        side: 12,
        states: [0, 4, 8, 12],
        firstSteps: 8,
      }
    : { model: networks[architecture], batch: 16, side: 28, states: [0, 50, 100, 200], firstSteps: 8 };
}

/** Returns the CPU's losses, and at each state its snapshot, loss and gradients. `direct` avoids Winograd's rounding. */
export async function trainReference(problem) {
  const { device, run, step } = await begin({ backend: 'cpu' }, problem, 'direct');
  const { architecture } = problem.model;
  const losses = [];
  const states = [];
  for (let i = 0; i <= Math.max(...problem.states); i += 1) {
    const snapshot = problem.states.includes(i) ? await step.snapshot() : undefined;
    losses.push(await run(i));
    if (snapshot !== undefined)
      states.push({ at: i, architecture, snapshot, loss: losses[i], gradients: await step.gradients() });
  }
  await device.dispose();
  return { losses, states };
}

/** Returns the losses of the first steps on another device. */
export async function firstLosses(deviceOptions, problem, algorithm) {
  const { device, run } = await begin(deviceOptions, problem, algorithm);
  const losses = [];
  for (let i = 0; i < problem.firstSteps; i += 1) losses.push(await run(i));
  await device.dispose();
  return losses;
}

/** Returns loss and gradients of another device at a state of the reference. */
export async function replayState(deviceOptions, problem, algorithm, { at, snapshot }) {
  const { device, run, step } = await begin(deviceOptions, problem, algorithm);
  await step.restore(snapshot);
  const result = { loss: await run(at), gradients: await step.gradients() };
  await device.dispose();
  return result;
}

/** Returns all losses of this number of steps and the weights after them, to compare bits, and whether graphs were used. */
export async function trainBits(deviceOptions, problem, steps) {
  const { device, run, step } = await begin(deviceOptions, problem, 'auto');
  const losses = [];
  for (let i = 0; i < steps; i += 1) losses.push(await run(i));
  const { parameters } = await step.snapshot();
  const { graphs } = device.info;
  await device.dispose();
  const weights = Buffer.concat([...parameters.values()].map(({ data }) => Buffer.from(data.buffer)));
  return { losses, weights, graphs };
}

export function compareLosses(actual, expected) {
  const difference = worstRatio(actual, expected.slice(0, actual.length));
  const failure = `the first ${actual.length} losses differ by ${difference}, limit ${firstLossesLimit}`;
  return { difference, ...(difference <= firstLossesLimit ? {} : { failure }) };
}

/** Compares one state. NaN counts as a difference. */
export function compareState(actual, expected, precision) {
  const limit = limitsAt(precision, expected.at, expected.architecture);
  const loss = worstRatio([actual.loss], [expected.loss]);
  const errors = [...expected.gradients].map(([tensor, { data }]) => ({
    tensor,
    error: relativeL2(actual.gradients.get(tensor).data, data),
  }));
  const [worst] = errors.toSorted((a, b) => (Number.isNaN(a.error) ? -1 : b.error - a.error));
  const complaints = [
    ...(loss <= limit.loss ? [] : [`loss differs by ${loss}, limit ${limit.loss}`]),
    ...errors
      .filter(({ error }) => !(error <= limit.gradient))
      .map(({ tensor, error }) => `gradient of ${tensor} differs by ${error}, limit ${limit.gradient}`),
  ];
  const failure = `${precision}, after ${expected.at} steps: ${complaints.join('; ')}`;
  return {
    loss,
    gradient: worst.error,
    tensor: worst.tensor,
    ...(complaints.length === 0 ? {} : { failure }),
  };
}

async function begin(deviceOptions, { model: config, batch, side }, algorithm) {
  const device = await openDevice(deviceOptions);
  const model = await PixelCNN.create(device, { ...config, seed: 0 });
  const size = { height: side, width: side, dynamic: false, algorithm };
  const step = await TrainingStep.create(model.internals(), size);
  const images = waves(4 * batch, side, side, 1, 1);
  /** Takes step i on one of four batches in turn and returns its mean nats per image. */
  const run = async (i) => {
    const first = (i % 4) * batch * side * side;
    const bytes = images.data.subarray(first, first + batch * side * side);
    const given = { bytes, count: batch };
    const { nats } = await step.run(given, hyper);
    return nats.reduce((sum, value) => sum + value, 0) / batch;
  };
  return { device, step, run };
}

function worstRatio(actual, expected) {
  const ratios = actual.map((value, i) => Math.abs(value / expected[i] - 1));
  return ratios.some(Number.isNaN) ? Number.NaN : Math.max(...ratios);
}
