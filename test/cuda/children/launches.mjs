// Runs one training step in bf16, op by op, and prints the kernels that it launched as JSON.
// Usage: node launches.mjs MODEL BATCH SIDE   PIXELCNN_EMULATOR_LOG says where the emulator writes the launches
import { readFileSync, writeFileSync } from 'node:fs';
import { openDevice, PixelCNN } from '../../../dist/index.js';
import { trainSchema } from '../../../dist/train/options.js';
import { TrainingStep } from '../../../dist/train/training-step.js';

const [options, batch, side] = process.argv.slice(2).map((text) => JSON.parse(text));
const log = process.env.PIXELCNN_EMULATOR_LOG;
const device = await openDevice({ backend: 'cuda', precision: 'bf16' });
const model = await PixelCNN.create(device, options);
const size = { height: side, width: side, dynamic: false, algorithm: 'auto' };
const step = await TrainingStep.create(model.internals(), size);
const bytes = new Uint8Array(batch * side * side * model.config.channels);
const run = () => step.run({ bytes, count: batch }, trainSchema.parse({}));
await run();
writeFileSync(log, '');
await run();
process.stdout.write(JSON.stringify(readFileSync(log, 'utf8').trim().split('\n')));
await device.dispose();
