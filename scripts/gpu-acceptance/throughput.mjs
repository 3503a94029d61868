// Part `throughput`: training and sampling beside PyTorch on the same GPU, taking turns in one run, and the share of the
// measured matrix-product rate that our live taps come to.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { measureSampling, measureTrainingStep } from '../../dist/cli/bench.js';
import { openDevice } from '../../dist/index.js';
import { layersOf, parseConfig } from '../../dist/models/config.js';
import { isLiveTap } from '../../dist/ops/masked-conv2d.js';
import { root } from '../steps.mjs';

const targets = { eager: 2.5, compiled: 1.7, sampling: 1000 };

export async function throughput({ emulated, python }) {
  const plan = emulated
    ? {
        models: [
          {
            name: 'tiny',
            side: 5,
            model: { channels: 1, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 },
          },
        ],
        training: [2],
        sampling: [2],
        rounds: 1,
        seconds: 0.1,
        pixels: 3,
        matmul: 64,
      }
    : {
        models: [
          { name: 'default, 28x28x1', side: 28, model: { channels: 1 } },
          {
            name: 'hidden 128, 15 layers, 3x3, 32x32x3',
            side: 32,
            model: { channels: 3, hiddenChannels: 128, layers: 15, kernelSize: 3 },
          },
        ],
        training: [64, 256, 1024],
        sampling: [1, 16, 256, 4096],
        rounds: 3,
        seconds: 1,
        pixels: 20,
        matmul: 8192,
      };
  const failures = [];
  const device = await openDevice({ backend: 'cuda' });
  const peer = await startPeer(python);
  const ask = (request) => peer.request(request);
  const { ms: matmulMs } = await ask({ op: 'matmul', size: plan.matmul });
  const matmulRate = matmulMs === undefined ? undefined : (2 * plan.matmul ** 3) / (matmulMs / 1000);
  const training = [];
  const sampling = [];
  for (const { name, side, model } of plan.models) {
    const size = { model, height: side, width: side, seconds: plan.seconds };
    for (const batch of plan.training) {
      const request = { op: 'train', model, side, batch, seconds: plan.seconds };
      const { ours, eager, compiled, errors } = await inTurns(plan.rounds, {
        ours: async () => ({ ms: (await measureTrainingStep(device, { ...size, batch })).milliseconds }),
        eager: () => ask({ ...request, compiled: false }),
        compiled: () => ask({ ...request, compiled: true }),
      });
      if (ours === undefined) failures.push(`training ${name}, batch ${batch}: ${errors.ours}`);
      const rate = (1000 * batch) / ours;
      const flops = 3 * forwardFlops(model, side) * rate;
      training.push({
        model: name,
        batch,
        milliseconds: { ours, eager, compiled },
        imagesPerSecond: rate,
        timesEager: eager / ours,
        timesCompiled: compiled / ours,
        shareOfMatmul: flops / matmulRate,
        errors,
      });
    }
    for (const batch of plan.sampling) {
      const request = { op: 'sample', model, side, batch, pixels: plan.pixels };
      const {
        ours,
        peer: perPixels,
        errors,
      } = await inTurns(plan.rounds, {
        ours: async () => ({ ms: (await measureSampling(device, { ...size, batch })).milliseconds }),
        peer: () => ask(request),
      });
      if (ours === undefined) failures.push(`sampling ${name}, batch ${batch}: ${errors.ours}`);
      sampling.push({
        model: name,
        batch,
        milliseconds: ours,
        imagesPerSecond: (1000 * batch) / ours,
        // Measured on the first pixels: every pixel costs the same forward pass.
        timesOneForwardPerPixel: (perPixels * side * side) / plan.pixels / ours,
        errors,
      });
    }
  }
  peer.end();
  const precision = device.info.precision;
  await device.dispose();
  return {
    failures,
    precision,
    peer: peer.versions,
    matmulRate,
    training,
    sampling,
    targets: reached(training, sampling),
  };
}

/** The medians of all contestants over some rounds; what failed is in `errors`. */
async function inTurns(rounds, contestants) {
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  const errors = {};
  for (let round = 0; round < rounds; round += 1) {
    for (const [name, run] of Object.entries(contestants)) {
      if (errors[name] !== undefined) continue;
      try {
        const { ms, error } = await run();
        if (error === undefined) times[name].push(ms);
        else errors[name] = error;
      } catch (error) {
        errors[name] = error.message;
      }
    }
  }
  const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
  return {
    ...Object.fromEntries(Object.entries(times).map(([name, values]) => [name, median(values)])),
    errors,
  };
}

/**
 * The targets, for the default model: our best rate over all batch sizes against the best of the other side. Missing one
 * is no failure of the run.
 */
function reached(training, sampling) {
  const best = (rows, rateOf) => Math.max(...rows.map(rateOf).filter(Number.isFinite));
  const ofFirstModel = (rows) => rows.filter(({ model }) => model === rows[0].model);
  const ours = (row) => row.imagesPerSecond;
  const [train, sample] = [ofFirstModel(training), ofFirstModel(sampling)];
  const ratios = {
    eager: best(train, ours) / best(train, (row) => ours(row) / row.timesEager),
    compiled: best(train, ours) / best(train, (row) => ours(row) / row.timesCompiled),
    sampling: best(sample, ours) / best(sample, (row) => ours(row) / row.timesOneForwardPerPixel),
  };
  return Object.fromEntries(
    Object.entries(targets).map(([name, target]) => {
      const ratio = ratios[name] > 0 ? ratios[name] : null;
      return [name, { target, ratio, met: ratio !== null && ratio >= target }];
    }),
  );
}

/** Two operations per live tap and pair of channels. */
function forwardFlops(options, side) {
  let products = 0;
  for (const layer of layersOf(parseConfig('throughput', options))) {
    const { c, k, kernelSize } = layer;
    const centre = (kernelSize - 1) / 2;
    products += (kernelSize * centre + centre) * c * k;
    for (let output = 0; output < k; output += 1)
      for (let input = 0; input < c; input += 1)
        products += isLiveTap(layer, output, input, centre, centre) ? 1 : 0;
  }
  return 2 * side * side * products;
}

/** PyTorch in a process of its own; without it every answer is an error that says why. */
async function startPeer(python) {
  const child = spawn(python, ['-W', 'ignore', `${root}scripts/gpu-peer.py`], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (data) => {
    complaint = (complaint + data).slice(-500);
  });
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve({ error: `no peer: ${error.message}` }));
    child.on('exit', () => resolve({ error: `no peer: ${complaint.trim().split('\n').at(-1)}` }));
  });
  child.stdin.on('error', () => undefined); // said by `ended`
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  const request = async (message) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const next = answers.next().then(({ value, done }) => (done ? ended : JSON.parse(value)));
    return Promise.race([next, ended]);
  };
  return { request, versions: await request({ op: 'versions' }), end: () => child.stdin.end() };
}
