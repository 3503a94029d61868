// Predicts from shapes how long training steps and sampling take on a GPU, and what limits every kernel.
// Usage: node scripts/gpu-acceptance/predict.mjs [--architecture NAME] [--batch N …] [--help]
//   --architecture NAME   plain or gated: the default network of that architecture. Default: plain
//   --batch N             batch size of the training steps, as often as wanted. Default: 256 and 1024
// The numbers are predictions, made without a GPU: a measured time far from its prediction has a reason worth finding.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parseConfig } from '../../dist/models/parse-config.js';
import { cut, elementBytes, h100, kernelTime } from './gpu-model.mjs';
import { nextFront } from './kernel-costs.mjs';
import { networks } from './networks.mjs';
import { imagesPerSampledBatch } from './recorded-programs.mjs';
import { sampledFronts } from './sampling-kernels.mjs';
import { trainingFlops, trainingOps } from './training-kernels.mjs';

export { h100 };

/** The shape that the acceptance run measures by default. */
const defaults = { model: {}, batch: 256, height: 28, width: 28, convolutions: 'own' };

// ---- the training step

/**
 * Predicts a training step of `batch` images with our own convolutions or with cuDNN's: for every kind of kernel its
 * launches, their time and what limits most of it, and the time of the whole step.
 */
export function predictTrainingStep(options, gpu = h100) {
  const shape = { ...defaults, ...options };
  const rows = new Map();
  for (const { name, demand } of trainingOps(shape, gpu).flatMap(({ kernels }) => kernels)) {
    const { seconds, limit, limits } = kernelTime(demand, gpu);
    const row = rows.get(name) ?? { name, launches: 0, microseconds: 0, limit, limits, longest: 0 };
    row.launches += 1;
    row.microseconds += 1e6 * seconds;
    if (seconds > row.longest) Object.assign(row, { limit, limits, longest: seconds });
    rows.set(name, row);
  }
  const kernels = [...rows.values()].map(({ limits, longest: _, ...row }) => ({
    ...row,
    // This is the time of the longest launch, in microseconds.
    limits: Object.fromEntries(Object.entries(limits).map(([name, seconds]) => [name, 1e6 * seconds])),
  }));
  const launches = kernels.reduce((sum, row) => sum + row.launches, 0);
  const copies = 4; // images and hyperparameters in, nats and state out
  const bytes = shape.batch * shape.height * shape.width * parseConfig('predict', shape.model).channels;
  const gaps = (launches + copies) * gpu.nodeGap + bytes / gpu.hostCopyRate;
  kernels.push(
    { name: 'gaps and copies', launches: 0, microseconds: 1e6 * gaps, limit: 'launch', limits: {} },
    {
      name: 'host between steps',
      launches: 0,
      microseconds: 1e6 * gpu.stepGap,
      limit: 'launch',
      limits: {},
    },
  );
  const seconds = kernels.reduce((sum, row) => sum + row.microseconds, 0) / 1e6;
  return {
    kernels,
    milliseconds: 1e3 * seconds,
    imagesPerSecond: shape.batch / seconds,
    shareOfPeak: trainingFlops(shape) / seconds / gpu.peakRate,
  };
}

/**
 * Predicts the microseconds on the device of the op that a trace of a training step calls `label`, e.g. `net.2 forward`;
 * of all ops of that label, if several have it.
 * A trace measures on the host and waits for every op, which adds 10 to 20 microseconds that the step does not have.
 */
export function predictOp(label, options = {}, gpu = h100) {
  const ops = trainingOps({ ...defaults, ...options }, gpu).filter((each) => each.label === label);
  if (ops.length === 0) throw new Error(`a training step of this model has no op '${label}'`);
  const secondsOf = ({ kernels }) =>
    kernels.reduce((sum, { demand }) => sum + kernelTime(demand, gpu).seconds, 0) +
    (kernels.length - 1) * gpu.nodeGap;
  return 1e6 * ops.reduce((sum, op) => sum + secondsOf(op), 0);
}

// ---- sampling

/**
 * Predicts drawing `batch` images with a sampler that has drawn before, so that its graphs exist. `frontMicroseconds` is the
 * mean of all fronts, `layerMicroseconds` the time of the last convolution before the logits in the longest.
 */
export function predictSampling(options, gpu = h100) {
  const { model, batch, height, width } = { ...defaults, ...options };
  const size = { model, height, width };
  /** Returns the time of the device and that of JavaScript afterwards. */
  const runTime = (images) => {
    const fronts = sampledFronts({ ...size, batch: images }, gpu);
    const { config, passes, beginning, drawing, blocks } = fronts;
    const { pad } = passes.front;
    const canvas = images * (pad + height) * (width + 2 * pad) * elementBytes;
    const values = images * height * width * config.channels;
    const cleared = kernelTime({ hbmBytes: canvas * passes.channels }, gpu).seconds;
    const counter = kernelTime(nextFront(), gpu).seconds;
    return {
      fronts,
      device: cleared + beginning + drawing + blocks * (gpu.graphLaunch + counter),
      // 256 levels are bytes already, and are copied.
      javascript: config.levels === 256 ? values / gpu.hostMemoryRate : values * gpu.javascriptPerValue,
    };
  };
  const runs = cut(batch, imagesPerSampledBatch(size)).map(runTime);
  // The next run is enqueued when the one before has arrived, and before JavaScript handles that.
  const seconds = runs.reduce(
    (sum, { device }, index) => sum + Math.max(gpu.hostTurn + device, runs[index - 1]?.javascript ?? 0),
    runs.at(-1).javascript,
  );
  const { drawing, steps, lastLayer } = runs[0].fronts;
  return {
    milliseconds: 1e3 * seconds,
    imagesPerSecond: batch / seconds,
    frontMicroseconds: (1e6 * drawing) / steps,
    layerMicroseconds: 1e6 * lastLayer,
  };
}

// ---- comparing with measurements

/**
 * Adds to measured `rows` what was predicted for them and the ratio measured / predicted. A row has `milliseconds` and says
 * what they measure: `what` is 'training step', 'sampling' or 'op' (then with its `label`), and any of model, batch,
 * height, width and convolutions that differs from the default model at batch 256 with our own kernels.
 */
export function withPredictions(rows, gpu = h100) {
  const predict = {
    'training step': (row) => predictTrainingStep(row, gpu).milliseconds,
    sampling: (row) => predictSampling(row, gpu).milliseconds,
    op: (row) => predictOp(row.label, row, gpu) / 1e3,
  };
  return rows.map((row) => {
    if (!Object.hasOwn(predict, row.what)) throw new Error(`no prediction for '${row.what}'`);
    const predicted = predict[row.what](row);
    return { ...row, predicted, ratio: row.milliseconds / predicted };
  });
}

// ---- printing

function trainingTable(model, batch, gpu) {
  const lines = [];
  for (const convolutions of ['own', 'cudnn']) {
    const step = predictTrainingStep({ model, batch, convolutions }, gpu);
    lines.push(
      '',
      `Training step, batch ${batch}, ${convolutions === 'own' ? 'our own convolutions' : "cuDNN's convolutions"}:`,
      `${'kernel'.padEnd(30)}${'launches'.padStart(8)}${'all of them'.padStart(14)}  limit`,
      ...step.kernels.map(
        ({ name, launches, microseconds, limit }) =>
          `${name.padEnd(30)}${String(launches || '').padStart(8)}${microseconds.toFixed(1).padStart(11)} µs  ${limit}`,
      ),
      `step: ${step.milliseconds.toFixed(2)} ms, ${Math.round(step.imagesPerSecond)} images/s, ` +
        `${(100 * step.shareOfPeak).toFixed(1)}% of the peak rate`,
    );
  }
  return lines;
}

function samplingTable(model, gpu) {
  const columns = ['batch', 'hidden layer', 'front (mean)', 'all images', 'images/s'];
  return [
    '',
    'Sampling:',
    columns.map((name) => name.padStart(13)).join(''),
    ...[1, 16, 256, 4096].map((batch) => {
      const { layerMicroseconds, frontMicroseconds, milliseconds, imagesPerSecond } = predictSampling(
        { model, batch },
        gpu,
      );
      return [
        String(batch),
        `${layerMicroseconds.toFixed(1)} µs`,
        `${frontMicroseconds.toFixed(1)} µs`,
        `${milliseconds.toFixed(1)} ms`,
        imagesPerSecond.toFixed(0),
      ]
        .map((cell) => cell.padStart(13))
        .join('');
    }),
  ];
}

const options = {
  architecture: { type: 'string', default: 'plain' },
  batch: { type: 'string', multiple: true, default: ['256', '1024'] },
  help: { type: 'boolean' },
};

function main() {
  const refuse = (reason) => {
    process.stderr.write(`${reason}\n`);
    process.exitCode = 1;
  };
  let values;
  try {
    ({ values } = parseArgs({ options }));
  } catch (error) {
    return refuse(error.message);
  }
  if (values.help) {
    const lines = readFileSync(new URL(import.meta.url), 'utf8').split('\n');
    const end = lines.findIndex((line) => !line.startsWith('//'));
    process.stdout.write(`${lines.slice(0, end).join('\n')}\n`);
    return;
  }
  const model = networks[values.architecture];
  if (model === undefined)
    return refuse(
      `--architecture: expected ${Object.keys(networks).join(' or ')}, got '${values.architecture}'`,
    );
  const batches = values.batch.map(Number);
  const wrong = batches.findIndex((batch) => !Number.isInteger(batch) || batch < 1 || batch > 2 ** 20);
  if (wrong >= 0)
    return refuse(`--batch: expected a number of images up to 2^20, got '${values.batch[wrong]}'`);
  const lines = [
    `PREDICTIONS, NOT MEASUREMENTS: the default ${values.architecture} model, 28x28x1, bf16, on ${h100.name}`,
    ...batches.flatMap((batch) => trainingTable(model, batch, h100)),
    ...samplingTable(model, h100),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
