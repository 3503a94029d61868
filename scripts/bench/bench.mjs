// Measures a network on this machine; with --peer pytorch also the same network in PyTorch, alternating in one run.
// Usage: npm run bench -- [--architecture gated] [--levels 256,2] [--batch 32] [--repeats 9] [--out FILE.json]
//                         [--peer pytorch] [--python PATH] [--built]
//        npm run bench -- --scaling [--out FILE.json] [--built]
// Sizes are the defaults of the architecture, images 28x28. Of PyTorch's memory layouts the better counts. --built leaves
// out the build, for a clone that is built. Largest losses and shares of the FMA peak are from traces of single ops.
// --scaling varies one size at a time (scaling.mjs) instead, takes up to 15 minutes, and exits with code 1 if some size runs
// much slower per operation than the best.
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { fail, outputOf, root, step } from '../steps.mjs';
import { bf16, layouts, measureInTurns, ownVariants, peerVariants, ratios, side } from './comparison.mjs';
import { latencyLine, machineLines, measureMachine, medianLatency } from './machine.mjs';
import { rateTable, traceOps } from './op-rates.mjs';
import { checkSameNetwork, startPeer } from './peer.mjs';
import { measureScaling } from './scaling.mjs';
import { scalingText } from './scaling-table.mjs';
import { measureSpeedups, speedupTable } from './thread-speedups.mjs';

const { values: options } = parseArgs({
  options: {
    architecture: { type: 'string' },
    levels: { type: 'string' },
    peer: { type: 'string' },
    python: { type: 'string' },
    repeats: { type: 'string' },
    batch: { type: 'string' },
    out: { type: 'string' },
    built: { type: 'boolean' },
    scaling: { type: 'boolean' },
    help: { type: 'boolean' },
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
const { architecture = 'plain' } = options;
if (!Object.hasOwn(defaults, architecture))
  fail(`unknown architecture '${architecture}': expected plain or gated`);
if (options.peer !== undefined && options.peer !== 'pytorch')
  fail(`unknown peer '${options.peer}': expected pytorch`);
const repeats = number('repeats', options.repeats ?? '9');
const batch = number('batch', options.batch ?? defaults[architecture].batch);
const levelsList = (options.levels ?? defaults[architecture].levels)
  .split(',')
  .map((text) => number('levels', text));

if (options.scaling) {
  const other = Object.keys(options).find((name) => !['scaling', 'out', 'built'].includes(name));
  if (other !== undefined) fail(`--scaling has sizes of its own: leave out --${other}`);
}

// Measured before anything is built, because the load is to be that before the benchmark.
const [loadAverage] = loadavg();
if (!options.built) step('set-up', 'node', ['scripts/build/setup.mjs', '--tests'], { show: true });
const machine = { loadAverage, ...measureMachine() };
const library = Object.assign(
  {},
  ...(await Promise.all(
    [
      'index',
      'cli/bench',
      'checkpoint/model-file',
      'models/architectures',
      'models/network',
      'models/parameters',
      'models/parse-config',
      'ops/gradients',
      'ops/window',
      'program/arena',
      'program/recorded-op',
      'program/recorder',
      'train/training-step',
      'train/options',
    ].map((name) => import(`../../dist/${name}.js`)),
  )),
);

const device = await library.openDevice({ backend: 'cpu' });
const report = {
  date: new Date().toISOString(),
  commit: outputOf('git', ['rev-parse', 'HEAD']) ?? 'unknown',
  cpu: cpus()[0]?.model,
  node: process.version,
  device: device.info,
  machine,
};
const { name, instructionSet, threads } = device.info;
process.stdout.write(`${name}, ${instructionSet}, ${threads} threads\n${machineLines(machine).join('\n')}\n`);
const passed = options.scaling ? await runScaling() : await runComparison();
if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
await device.dispose();
process.exitCode = passed ? 0 : 1;

/** Measures one size after the other, and returns whether none is slow. */
async function runScaling() {
  report.scaling = await measureScaling(library, device);
  process.stdout.write(`\n${scalingText(report.scaling)}\n`);
  return report.scaling.failures.length === 0;
}

/** Measures the networks that the options name, beside the peer if there is one. */
async function runComparison() {
  const half = await openBf16();
  const peer = options.peer === undefined ? undefined : await startPeer(pythonWithTorch(), threads);
  Object.assign(report, { bf16: half.leftOut ?? half.device.info.precision, peer: peer?.versions });
  Object.assign(report, { batch, repeats, peakGflops: undefined, models: [] });
  process.stdout.write(`${architecture}, batch ${batch}\n`);
  if (half.leftOut !== undefined) process.stdout.write(`bf16 left out: ${half.leftOut}\n`);
  for (const levels of levelsList) {
    const measured = await measureModel({ architecture, levels }, { f32: device, bf16: half.device }, peer);
    report.models.push(measured);
    print(measured);
  }
  await half.device?.dispose();
  peer?.end();
  return true;
}

/** Opens a device for bf16. Returns { device }, or { leftOut } with the reason where this processor lacks it. */
async function openBf16() {
  try {
    return { device: await library.openDevice({ backend: 'cpu', precision: 'bf16' }) };
  } catch (error) {
    if (error.code !== 'ERR_PRECISION') throw error;
    return { leftOut: error.message };
  }
}

/** Measures one network: medians of all variants, which take turns, their ratios, and op by op what runs slowly. */
async function measureModel(model, devices, peer) {
  if (peer !== undefined) {
    const kinds = [...layouts.map((layout) => ({ precision: 'f32', layout })), bf16];
    await checkSameNetwork(library, device, model, peer, kinds).catch((error) => fail(error.message));
  }
  const fast = defaults[architecture].forward;
  const own = ownVariants(library, devices, { model, batch, fast });
  const variants = [...own, ...(peer === undefined ? [] : peerVariants(peer, batch))];
  const coreToCoreNs = [];
  const medianMs = await measureInTurns(variants, repeats, (round) => {
    process.stderr.write(`${model.levels} levels: ${round}\n`);
    measurePeak();
    coreToCoreNs.push(medianLatency());
  });
  const how = { batch, side, repeats };
  const ops = await traceOps(library, device, model, how);
  const speedups = threads > 1 ? await measureSpeedups(library, device, model, how, ops.training) : undefined;
  return { ...model, medianMs, coreToCoreNs, ratios: ratios(medianMs, { batch, fast }), ops, speedups };
}

/**
 * Measures GF/s of fused multiply-adds in registers on all threads with test/native/peak.cc. The largest of all rounds
 * counts, because anything else that runs on the machine makes it smaller.
 */
function measurePeak() {
  const line = outputOf(`${root}build/peak`, [String(device.info.threads)]);
  if (line !== undefined) report.peakGflops = Math.max(report.peakGflops ?? 0, Number(line));
}

function print({ levels, medianMs, coreToCoreNs, ratios: table, ops, speedups }) {
  const rows = Object.entries(medianMs).map(
    ([name, ms]) => `${name.padEnd(52)} ${ms.toFixed(2).padStart(9)} ms`,
  );
  process.stdout.write(`\n${levels} levels\n${latencyLine(coreToCoreNs)}\n${rows.join('\n')}\n`);
  for (const [name, ratio] of Object.entries(table)) {
    process.stdout.write(`${name.padEnd(52)} ${ratio.toFixed(2).padStart(9)} x\n`);
  }
  process.stdout.write(
    speedups === undefined
      ? 'no comparison of 1 and more threads: this process may use one processor only\n'
      : `${speedupTable(speedups, threads)}\n`,
  );
  if (report.peakGflops === undefined) {
    process.stdout.write('no rates: build/peak, which measures the FMA peak, is not built\n');
    return;
  }
  process.stdout.write(`${rateTable('forward, direct', ops.forward, report.peakGflops)}\n`);
  process.stdout.write(`${rateTable('training step, auto', ops.training, report.peakGflops)}\n`);
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
