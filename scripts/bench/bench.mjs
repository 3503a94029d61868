// Measures the default model on this machine; with --peer pytorch also PyTorch, alternating in one run.
// Usage: npm run bench -- [--peer pytorch] [--python PATH] [--repeats 9] [--batch 32] [--out FILE.json]
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { fail, outputOf, root, step } from '../steps.mjs';

const { values: options } = parseArgs({
  options: {
    peer: { type: 'string' },
    python: { type: 'string' },
    repeats: { type: 'string', default: '9' },
    batch: { type: 'string', default: '32' },
    out: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  process.stdout.write(
    `${readFileSync(new URL(import.meta.url), 'utf8')
      .split('\n')
      .slice(0, 2)
      .join('\n')}\n`,
  );
  process.exit(0);
}
if (options.peer !== undefined && options.peer !== 'pytorch')
  fail(`unknown peer '${options.peer}': expected pytorch`);

step('set-up', 'node', ['scripts/build/setup.mjs', '--tests'], { show: true });
const { openDevice } = await import('../../dist/index.js');
const { measureForward, measureSampling, measureTrainingStep } = await import('../../dist/cli/bench.js');

const repeats = Number(options.repeats);
const batch = Number(options.batch);
const device = await openDevice({ backend: 'cpu' });
const peer = options.peer === undefined ? undefined : await startPeer(pythonWithTorch());
const seconds = 0.4;
const training = async (algorithm) =>
  (await measureTrainingStep(device, { algorithm, batch, seconds })).milliseconds;
const forward = async (algorithm) =>
  (await measureForward(device, { algorithm, batch, seconds })).milliseconds;
const sampling = async (images) =>
  (await measureSampling(device, { batch: images, seconds: 0.1 })).milliseconds;
const variants = [
  { name: 'pixelcnn training step', run: () => training('auto') },
  { name: 'pixelcnn training step, direct', run: () => training('direct') },
  { name: 'pixelcnn forward, winograd', run: () => forward('winograd') },
  { name: 'pixelcnn forward, direct', run: () => forward('direct') },
  { name: 'pixelcnn sampling 1', run: () => sampling(1) },
  { name: 'pixelcnn sampling 16', run: () => sampling(16) },
];
if (peer !== undefined) {
  for (const op of ['train', 'forward']) {
    for (const [precision, layout] of [
      ['f32', 'nchw'],
      ['f32', 'channels_last'],
      ['bf16', 'channels_last'],
    ]) {
      const name = `pytorch ${op} ${precision} ${layout}`;
      variants.push({ name, run: () => peer.request({ op, precision, layout, n: batch }) });
    }
  }
  for (const n of [1, 16]) {
    const request = { op: 'forward', precision: 'f32', layout: 'nchw', n };
    variants.push({ name: `pytorch forward f32 nchw of ${n}`, run: () => peer.request(request) });
  }
}

const times = new Map(variants.map(({ name }) => [name, []]));
for (let repeat = -1; repeat < repeats; repeat += 1) {
  process.stderr.write(repeat < 0 ? 'warm-up\n' : `round ${repeat + 1} of ${repeats}\n`);
  for (const { name, run } of variants) {
    // The other side's threads need a moment to go to sleep.
    await new Promise((resolve) => setTimeout(resolve, 20));
    const ms = await run();
    if (repeat >= 0) times.get(name).push(ms);
  }
}
const median = (name) => times.get(name).toSorted((a, b) => a - b)[Math.floor(repeats / 2)];
const medians = Object.fromEntries(variants.map(({ name }) => [name, median(name)]));
const report = {
  date: new Date().toISOString(),
  commit: outputOf('git', ['rev-parse', 'HEAD']) ?? 'unknown',
  cpu: cpus()[0]?.model,
  node: process.version,
  device: device.info,
  peer: peer?.versions,
  batch,
  repeats,
  medianMs: medians,
  peakGflops: peak(),
  ratios: peer === undefined ? undefined : ratios(medians),
};
print(report);
if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
await device.dispose();
peer?.end();

function ratios(ms) {
  const f32 = (op) => Math.min(ms[`pytorch ${op} f32 nchw`], ms[`pytorch ${op} f32 channels_last`]);
  return {
    'training step / pytorch f32': f32('train') / ms['pixelcnn training step'],
    'training step / pytorch bf16': ms['pytorch train bf16 channels_last'] / ms['pixelcnn training step'],
    'training step direct / pytorch f32': f32('train') / ms['pixelcnn training step, direct'],
    'forward winograd / pytorch f32': f32('forward') / ms['pixelcnn forward, winograd'],
    'forward direct / pytorch f32': f32('forward') / ms['pixelcnn forward, direct'],
    // One full forward pass per pixel: 28 * 28 of them.
    'sampling 1 / pytorch one forward per pixel':
      (784 * ms['pytorch forward f32 nchw of 1']) / ms['pixelcnn sampling 1'],
    'sampling 16 / pytorch one forward per pixel':
      (784 * ms['pytorch forward f32 nchw of 16']) / ms['pixelcnn sampling 16'],
  };
}

/** Measures GF/s of fused multiply-adds in registers on all threads with test/native/peak.cc. */
function peak() {
  const line = outputOf(`${root}build/peak`, [String(device.info.threads)]);
  return line === undefined ? undefined : Number(line);
}

function print({ medianMs, peakGflops, ratios: table, device: info }) {
  const rows = Object.entries(medianMs).map(
    ([name, ms]) => `${name.padEnd(46)} ${ms.toFixed(2).padStart(9)} ms`,
  );
  process.stdout.write(
    `${info.name}, ${info.instructionSet}, ${info.threads} threads, batch ${batch}\n${rows.join('\n')}\n`,
  );
  // Two operations per live tap and channel pair: 24 taps from 1 to 64, 5 x 25 from 64 to 64, one 64 to 256.
  const forwardGflop = (2 * batch * 784 * (24 * 64 + 5 * 25 * 64 * 64 + 64 * 256)) / 1e9;
  if (peakGflops !== undefined) {
    const rate = (1000 * forwardGflop) / medianMs['pixelcnn forward, direct'];
    process.stdout.write(
      `direct forward: ${rate.toFixed(0)} live GF/s, ${((100 * rate) / peakGflops).toFixed(0)}% of the measured FMA peak ${peakGflops.toFixed(0)}\n`,
    );
  }
  for (const [name, ratio] of Object.entries(table ?? {})) {
    process.stdout.write(`${name.padEnd(46)} ${ratio.toFixed(2).padStart(9)} x\n`);
  }
}

/** Returns a Python that can import torch. */
function pythonWithTorch() {
  const candidates = [options.python, process.env.PIXELCNN_PYTHON, `${root}.venv/bin/python`, 'python3'];
  for (const python of candidates) {
    if (python !== undefined && outputOf(python, ['-W', 'ignore', '-c', 'import torch']) !== undefined)
      return python;
  }
  return fail(
    'no Python with PyTorch found. In a virtual environment: pip install torch==2.13.0 numpy safetensors; then pass --python PATH.',
  );
}

async function startPeer(python) {
  const child = spawn(python, ['-W', 'ignore', 'scripts/bench/peer.py', String(device.info.threads)], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (request) => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await lines.next();
    if (done) return fail('the PyTorch peer ended unexpectedly');
    return JSON.parse(value);
  };
  return {
    versions: await ask({ op: 'versions' }),
    request: async (request) => (await ask(request)).ms,
    end: () => child.stdin.end(),
  };
}
