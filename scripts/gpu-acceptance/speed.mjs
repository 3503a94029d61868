// Runs the parts `sampling-speed-*`, `training-speed-*` and `trace-*`: the default model of an architecture on 28x28
// images in the device's default precision.
import { measureSampling, measureTrainingStep } from '../../dist/cli/bench.js';
import { openDevice, PixelCNN } from '../../dist/index.js';
import { networkOf } from '../../dist/models/architectures.js';
import { parseConfig } from '../../dist/models/parse-config.js';
import { liveParameters } from '../../dist/ops/declarations.js';
import { trainSchema } from '../../dist/train/options.js';
import { TrainingStep } from '../../dist/train/training-step.js';
import { withoutCudnn } from './info.mjs';
import { aboutNetwork, networks, tinyNetworks } from './networks.mjs';
import { attempt } from './part.mjs';
import { waves } from './waves.mjs';

/** Chooses model and sizes. The emulated GPU would need minutes for one image of the default model. */
function problem({ emulated, architecture = 'plain' }, batches) {
  const about = aboutNetwork(architecture);
  return emulated
    ? { about, model: tinyNetworks[architecture], side: 5, seconds: 0.05, batches: [1, 2] }
    : { about, model: networks[architecture], side: 28, seconds: 0.5, batches };
}

export async function samplingSpeed({ say, ...options }) {
  const { about, batches, ...size } = problem(options, [1, 16, 256, 4096]);
  await onDevice(say, async (device) => {
    for (const batch of batches)
      await attempt(say, { sampling: 'speed', ...about, batch }, () =>
        measureSampling(device, asked(size, batch)),
      );
  });
}

export async function trainingSpeed({ kernels, say, ...options }) {
  const { about, batches, ...size } = problem(options, [256, 64, 1024]);
  await onDevice(say, async (device) => {
    if (kernels === 'cuDNN' && withoutCudnn(device))
      return say({ leftOut: `our own kernels would do it: ${device.info.cudnn}` });
    const gflopPerImage = (3 * forwardFlops(size.model, size.side)) / 1e9;
    for (const batch of batches) {
      const start = performance.now();
      await attempt(say, { training: 'speed', ...about, kernels, batch }, async () => {
        const timing = await measureTrainingStep(device, asked(size, batch));
        // The rest of the time is compilation: the search for plans, for each batch size anew.
        return { ...timing, gflopPerImage, allSeconds: (performance.now() - start) / 1000 };
      });
    }
  });
}

/** Traces a training step: one row with the median times over several steps and the non-finite values of every op. */
export async function trace({ kernels, say, ...options }) {
  const { about, model: config, side, batches } = problem(options, [256]);
  const batch = batches[0];
  await onDevice(say, async (device) => {
    if (kernels === 'cuDNN' && withoutCudnn(device))
      return say({ leftOut: `our own kernels would do it: ${device.info.cudnn}` });
    const model = await PixelCNN.create(device, config);
    const size = { height: side, width: side, dynamic: false, algorithm: 'auto' };
    const step = await TrainingStep.create(model.internals(), size);
    const { data: bytes } = waves(batch, side, side, 1, 1);
    const images = { bytes, count: batch };
    const hyper = trainSchema.parse({ maxGradientNorm: 1 });
    await step.run(images, hyper);
    const traces = [];
    for (let i = 0; i < 5; i += 1) traces.push(await step.trace(images, hyper));
    const ops = traces[0].map(({ label }, op) => [label, median(traces.map((all) => all[op].milliseconds))]);
    const milliseconds = ops.reduce((sum, [, time]) => sum + time, 0);
    say({ trace: kernels, ...about, batch, milliseconds, ops });
    const spoiled = traces.flat().find(({ nonFinite }) => nonFinite > 0);
    if (spoiled !== undefined)
      say({ failure: `${spoiled.label} wrote ${spoiled.nonFinite} values that are not finite` });
  });
}

async function onDevice(say, body) {
  const device = await openDevice({ backend: 'cuda' });
  say({ gpu: device.info.name, precision: device.info.precision, cudnn: device.info.cudnn });
  await body(device);
  say({ graphs: device.info.graphs });
  await device.dispose();
}

function asked({ model, side, seconds }, batch) {
  return { model, height: side, width: side, seconds, batch };
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Counts two operations per live tap and pair of channels. */
function forwardFlops(options, side) {
  const weights = [...networkOf(parseConfig('speed', options)).parameters].filter(
    ({ filter }) => filter !== null,
  );
  return 2 * side * side * liveParameters(weights);
}
