// Measures a network on this machine; with --peer pytorch also the same network in PyTorch, alternating in one run.
// Usage: npm run bench -- [--architecture gated] [--levels 256,2] [--batch 32] [--repeats 9] [--out FILE.json]
//                         [--peer pytorch] [--python PATH] [--built]
// Sizes are the defaults of the architecture, images 28x28. Of PyTorch's memory layouts the better counts. --built leaves
// out the build, for a clone that is built. Largest losses and shares of the FMA peak are from traces of single ops.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { fail, outputOf, root, step } from '../steps.mjs';
import { rateTable, traceOps } from './op-rates.mjs';
import { checkSameNetwork, startPeer } from './peer.mjs';

const side = 28;
const layouts = ['nchw', 'channels_last'];
/** PyTorch's bfloat16 is measured in the layout that is better for it. */
const bf16 = { precision: 'bf16', layout: 'channels_last' };
const { values: options } = parseArgs({
  options: {
    architecture: { type: 'string', default: 'plain' },
    levels: { type: 'string' },
    peer: { type: 'string' },
    python: { type: 'string' },
    repeats: { type: 'string', default: '9' },
    batch: { type: 'string' },
    out: { type: 'string' },
    built: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  const text = readFileSync(new URL(import.meta.url), 'utf8');
  process.stdout.write(`${text.slice(0, text.indexOf('import'))}`);
  process.exit(0);
}
/** What is measured of each architecture where the options do not say it. */
const defaults = {
  plain: { levels: '256', batch: '32', forward: 'winograd' },
  gated: { levels: '256,2', batch: '16', forward: 'auto' },
};
const { architecture } = options;
if (!Object.hasOwn(defaults, architecture))
  fail(`unknown architecture '${architecture}': expected plain or gated`);
if (options.peer !== undefined && options.peer !== 'pytorch')
  fail(`unknown peer '${options.peer}': expected pytorch`);
const repeats = number('repeats', options.repeats);
const batch = number('batch', options.batch ?? defaults[architecture].batch);
const levelsList = (options.levels ?? defaults[architecture].levels)
  .split(',')
  .map((text) => number('levels', text));

if (!options.built) step('set-up', 'node', ['scripts/build/setup.mjs', '--tests'], { show: true });
const library = Object.assign(
  {},
  ...(await Promise.all(
    [
      'index',
      'cli/bench',
      'checkpoint/model-file',
      'models/architectures',
      'ops/window',
      'train/training-step',
      'train/options',
    ].map((name) => import(`../../dist/${name}.js`)),
  )),
);
const { measureForward, measureSampling, measureTrainingStep } = library;

const device = await library.openDevice({ backend: 'cpu' });
const peer = options.peer === undefined ? undefined : await startPeer(pythonWithTorch(), device.info.threads);
const report = {
  date: new Date().toISOString(),
  commit: outputOf('git', ['rev-parse', 'HEAD']) ?? 'unknown',
  cpu: cpus()[0]?.model,
  node: process.version,
  device: device.info,
  peer: peer?.versions,
  batch,
  repeats,
  peakGflops: undefined,
  models: [],
};
process.stdout.write(
  `${device.info.name}, ${device.info.instructionSet}, ${device.info.threads} threads, ${architecture}, batch ${batch}\n`,
);
for (const levels of levelsList) {
  const measured = await measureModel({ architecture, levels });
  report.models.push(measured);
  print(measured);
}
if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
await device.dispose();
peer?.end();

/** Measures one network: medians of all variants, which take turns, their ratios, and op by op what runs slowly. */
async function measureModel(model) {
  if (peer !== undefined) {
    const kinds = [...layouts.map((layout) => ({ precision: 'f32', layout })), bf16];
    await checkSameNetwork(library, device, model, peer, kinds).catch((error) => fail(error.message));
  }
  const variants = [...ownVariants(model), ...(peer === undefined ? [] : peerVariants())];
  const times = new Map(variants.map(({ name }) => [name, []]));
  for (let repeat = -1; repeat < repeats; repeat += 1) {
    const round = repeat < 0 ? 'warm-up' : `round ${repeat + 1} of ${repeats}`;
    process.stderr.write(`${model.levels} levels: ${round}\n`);
    measurePeak();
    for (const { name, run } of variants) {
      // The other side's threads need a moment to go to sleep.
      await new Promise((resolve) => setTimeout(resolve, 20));
      const ms = await run();
      if (repeat >= 0) times.get(name).push(ms);
    }
  }
  const medianMs = Object.fromEntries([...times].map(([name, values]) => [name, median(values)]));
  const ops = await traceOps(library, device, model, { batch, side, repeats });
  return { ...model, medianMs, ratios: peer && ratios(medianMs), ops };
}

function ownVariants(model) {
  const shared = { model, seconds: 0.4, batch };
  const training = (algorithm) => () => measureTrainingStep(device, { ...shared, algorithm });
  const forward = (algorithm) => () => measureForward(device, { ...shared, algorithm });
  const sampling = (images) => () => measureSampling(device, { model, seconds: 0.1, batch: images });
  const fast = defaults[architecture].forward;
  return [
    { name: 'pixelcnn training step', run: training('auto') },
    { name: 'pixelcnn training step, direct', run: training('direct') },
    { name: `pixelcnn forward, ${fast}`, run: forward(fast) },
    { name: 'pixelcnn forward, direct', run: forward('direct') },
    { name: 'pixelcnn sampling 1', run: sampling(1) },
    { name: 'pixelcnn sampling 16', run: sampling(16) },
  ].map(({ name, run }) => ({ name, run: async () => (await run()).milliseconds }));
}

function peerVariants() {
  const counts = { train: [batch], forward: [...new Set([batch, 1, 16])] };
  return Object.entries(counts).flatMap(([op, sizes]) => {
    const f32 = sizes.flatMap((n) => layouts.map((layout) => ({ op, precision: 'f32', layout, n })));
    return [...f32, { op, ...bf16, n: batch }].map((request) => ({
      name: peerName(request),
      run: async () => (await peer.request(request)).ms,
    }));
  });
}

function peerName({ op, precision, layout, n }) {
  return `pytorch ${op} ${precision} ${layout} of ${n}`;
}

function ratios(ms) {
  const f32 = (op, n) =>
    Math.min(...layouts.map((layout) => ms[peerName({ op, precision: 'f32', layout, n })]));
  const fast = defaults[architecture].forward;
  const drawn = (n) => (side * side * f32('forward', n)) / ms[`pixelcnn sampling ${n}`];
  return {
    'training step / pytorch f32': f32('train', batch) / ms['pixelcnn training step'],
    'training step / pytorch bf16':
      ms[peerName({ op: 'train', ...bf16, n: batch })] / ms['pixelcnn training step'],
    'training step direct / pytorch f32': f32('train', batch) / ms['pixelcnn training step, direct'],
    [`forward ${fast} / pytorch f32`]: f32('forward', batch) / ms[`pixelcnn forward, ${fast}`],
    'forward direct / pytorch f32': f32('forward', batch) / ms['pixelcnn forward, direct'],
    // One full forward pass per pixel: 28 * 28 of them.
    'sampling 1 / pytorch one forward per pixel': drawn(1),
    'sampling 16 / pytorch one forward per pixel': drawn(16),
  };
}

/**
 * Measures GF/s of fused multiply-adds in registers on all threads with test/native/peak.cc. The largest of all rounds
 * counts, because anything else that runs on the machine makes it smaller.
 */
function measurePeak() {
  const line = outputOf(`${root}build/peak`, [String(device.info.threads)]);
  if (line !== undefined) report.peakGflops = Math.max(report.peakGflops ?? 0, Number(line));
}

function print({ levels, medianMs, ratios: table, ops }) {
  const rows = Object.entries(medianMs).map(
    ([name, ms]) => `${name.padEnd(46)} ${ms.toFixed(2).padStart(9)} ms`,
  );
  process.stdout.write(`\n${levels} levels\n${rows.join('\n')}\n`);
  for (const [name, ratio] of Object.entries(table ?? {})) {
    process.stdout.write(`${name.padEnd(46)} ${ratio.toFixed(2).padStart(9)} x\n`);
  }
  if (report.peakGflops === undefined) {
    process.stdout.write('no rates: build/peak, which measures the FMA peak, is not built\n');
    return;
  }
  process.stdout.write(`${rateTable('forward, direct', ops.forward, report.peakGflops)}\n`);
  process.stdout.write(`${rateTable('training step, auto', ops.training, report.peakGflops)}\n`);
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function number(name, text) {
  const value = Number(text);
  return Number.isInteger(value) && value > 0
    ? value
    : fail(`--${name} must be a whole number, got '${text}'`);
}

/** Returns a Python that can import torch and safetensors. */
function pythonWithTorch() {
  const candidates = [options.python, process.env.PIXELCNN_PYTHON, `${root}.venv/bin/python`, 'python3'];
  for (const python of candidates) {
    const tried = ['-W', 'ignore', '-c', 'import torch, safetensors.torch'];
    if (python !== undefined && outputOf(python, tried) !== undefined) return python;
  }
  return fail(
    'no Python with PyTorch found. In a virtual environment: pip install torch==2.13.0 numpy safetensors; then pass --python PATH.',
  );
}
