// Trains a tiny model that saves after every step and prints what it resumed, saved and missed. argv: folder,
// steps.
import { readdirSync, writeSync } from 'node:fs';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';
import { readTrainingCheckpoint } from '../../../dist/train/checkpoint-folder.js';

const [folder, steps] = process.argv.slice(2);
const say = (line) => writeSync(1, `${line}\n`);

// Two steps an epoch, so that most saves are of a best checkpoint too.
const count = 20;
const data = Uint8Array.from({ length: count * 16 }, (_, i) =>
  (i * 7) % 61 < 20 + ((i >> 4) % 5) ? 220 : 30,
);
const images = { data, count, height: 4, width: 4, channels: 1 };

const device = await openDevice({ backend: 'cpu', threads: 1 });
const model = await PixelCNN.create(device, {
  hiddenChannels: 8,
  layers: 3,
  kernelSize: 3,
  levels: 2,
  seed: 3,
});
const run = train(model, images, {
  epochs: 1_000_000,
  steps: Number(steps),
  batchSize: 9,
  learningRate: 1e-3,
  emaDecay: 0.9,
  protocol: 'dynamic',
  validation: 0.1,
  checkpointEvery: 1,
  checkpointFolder: folder,
  resume: true,
});
say('ready');
for await (const event of run) {
  if (event.type === 'resume') say(`resumed ${event.step} skipped ${event.skipped.length}`);
  if (event.type === 'checkpoint') {
    if (event.removed.length > 0) say(`made room ${event.step}`);
    say(`saved ${event.step}`);
  }
  if (event.type === 'waitingForDisk') {
    say(`waiting ${event.step} ${event.code}`);
    run.stop();
  }
  if (event.type === 'checkpointFailed') {
    // Training goes on meanwhile, so this may be a newer one; it must be whole in any case.
    const newest = readdirSync(folder)
      .filter((name) => /^step-.*safetensors$/.test(name))
      .sort()
      .at(-1);
    if (newest !== undefined) await readTrainingCheckpoint(`${folder}/${newest}`);
    say(`failed ${event.step} ${event.code}`);
  }
}
await run;
await model.dispose();
await device.dispose();
