// Trains on a GPU with checkpoints and samples, and prints all that came of it as JSON: losses, and digests of the
// checkpoints, images and logits; then runs many small programs beside each other. The variables of the emulator say how the GPU behaves.
// Usage: node train.mjs FOLDER '{"precision":"f32"}'   FOLDER is where the checkpoints go
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { native } from '../../../dist/device/native.js';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';
import { quantise } from '../../../dist/ops/quantise.js';
import { Program } from '../../../dist/program/program.js';
import { Recorder } from '../../../dist/program/recorder.js';

const [folder, options] = process.argv.slice(2);
const digest = (data) => createHash('sha256').update(data).digest('hex');
const report = { losses: [], samples: [], checkpoints: {}, quantised: [] };

const device = await openDevice({ backend: 'cuda', ...JSON.parse(options) });
const model = await PixelCNN.create(device, { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 });
const size = { count: 40, height: 6, width: 5, channels: 1 };
const data = Uint8Array.from({ length: 40 * 30 }, (_, i) => (i * i * 7 + 13 * i) % 256);
// The last batch of an epoch is smaller, so that programs alternate.
const run = train(
  model,
  { ...size, data },
  {
    epochs: 3,
    batchSize: 6,
    protocol: 'levels',
    emaDecay: 0.9,
    maxGradientNorm: 1,
    checkpointFolder: folder,
    checkpointEvery: 4,
    keepLast: 100,
    samples: 2,
  },
);
for await (const event of run) {
  if (event.type === 'step') report.losses.push(event.nats);
  if (event.type === 'sample') report.samples.push(digest(event.images.data));
}
for (const name of readdirSync(folder).sort()) {
  if (name.endsWith('.safetensors')) report.checkpoints[name] = digest(readFileSync(join(folder, name)));
}
// Calls beside each other: while one works, the images of the next are written and the results of the last read.
const draws = [1, 2, 3].map((seed) => model.sample({ count: 5, height: 6, width: 5, seed }));
for (const { data } of await Promise.all(draws)) report.samples.push(digest(data));
report.logits = digest(Buffer.from((await model.logits({ ...size, data })).data.buffer));

// The library keeps two steps in flight. Straight to the executor go many, so that each begins before the last has ended.
const recorder = new Recorder(device);
const bytes = recorder.input('bytes', [300], 'uint8');
const { level, x } = quantise(recorder, 'quantise', bytes, 4);
recorder.output(level);
recorder.output(x);
const program = await Program.compile(recorder);
const runs = Array.from({ length: 40 }, (_, i) => {
  const step = program.step([data.slice(20 * i, 20 * i + 300)]);
  return native().runProgram(step.program, step.inputs, 1);
});
for (const outputs of await Promise.all(runs))
  report.quantised.push(...outputs.map((o) => digest(Buffer.from(o))));
program.dispose();
await device.dispose();
process.stdout.write(JSON.stringify(report));
