// Runs one training step and draws one image in bf16, op by op, and prints the kernels that each launched as JSON.
// Usage: node launches.mjs MODEL BATCH SIDE   PIXELCNN_EMULATOR_LOG says where the emulator writes the launches
import { readFileSync, writeFileSync } from 'node:fs';
import { openDevice, PixelCNN } from '../../../dist/index.js';
import { trainSchema } from '../../../dist/train/options.js';
import { TrainingStep } from '../../../dist/train/training-step.js';

const [options, batch, side] = process.argv.slice(2).map((text) => JSON.parse(text));
const log = process.env.PIXELCNN_EMULATOR_LOG;
const device = await openDevice({ backend: 'cuda', precision: 'bf16' });
const model = await PixelCNN.create(device, options);
const size = { height: side, width: side };
const step = await TrainingStep.create(model.internals(), { ...size, dynamic: false, algorithm: 'auto' });
const bytes = new Uint8Array(batch * side * side * model.config.channels);

/** A condition for so many images, all zeros, and the options of sample() that give one. */
const { condition } = options;
const conditionFor = (images) => {
  if (condition === undefined) return undefined;
  if (condition.classes !== undefined) return new Uint32Array(images);
  const pixels = condition.map === undefined ? 1 : side * side;
  return new Float32Array(images * pixels * (condition.features ?? condition.map));
};
const { classes, features, map } = condition ?? {};
const given = {
  ...(classes !== undefined && { labels: 0 }),
  ...(features !== undefined && { features: conditionFor(1) }),
  ...(map !== undefined && { map: conditionFor(1) }),
};

/** Returns what the second of two runs launches: the first one compiles and packs. */
async function launchesOf(run) {
  await run();
  writeFileSync(log, '');
  await run();
  return readFileSync(log, 'utf8').trim().split('\n');
}

const training = await launchesOf(() =>
  step.run({ bytes, count: batch, condition: conditionFor(batch) }, trainSchema.parse({})),
);
const sampling = await launchesOf(() => model.sample({ count: 1, ...size, seed: 1, ...given }));
process.stdout.write(JSON.stringify({ training, sampling }));
await device.dispose();
