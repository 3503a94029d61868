// Takes a few training steps on the emulated GPU and prints JSON: losses, what the device says of itself, a trace of
// the next step, the gradients after it, and the events of a run by `train` that tell of choices.
// Usage: node first-steps.mjs
import { createHash } from 'node:crypto';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';
import { trainSchema } from '../../../dist/train/options.js';
import { TrainingStep } from '../../../dist/train/training-step.js';

const [count, side] = [4, 6];
const device = await openDevice({ backend: 'cuda', precision: 'bf16' });
const model = await PixelCNN.create(device, {
  hiddenChannels: 8,
  layers: 3,
  levels: 4,
  kernelSize: 3,
  seed: 1,
});
const bytes = Uint8Array.from({ length: count * side * side }, (_, i) => (i * 37) & 255);

const step = await TrainingStep.create(model.internals(), {
  height: side,
  width: side,
  dynamic: false,
  algorithm: 'auto',
});
const batch = { bytes, count };
const hyper = trainSchema.parse({ maxGradientNorm: 1 });
const losses = [];
for (let i = 0; i < 5; i += 1) losses.push(...(await step.run(batch, hyper)).nats);
const { graphs, cudnn } = device.info;
const trace = await step.trace(batch, hyper);
const gradients = createHash('sha256');
for (const { data } of (await step.gradients()).values()) gradients.update(Buffer.from(data.buffer));
step.dispose();

const run = train(
  model,
  { data: bytes, count, height: side, width: side, channels: 1 },
  { steps: 3, batchSize: 4 },
);
const choosing = [];
for await (const event of run) if (event.type === 'choosing') choosing.push(event);
await device.dispose();
process.stdout.write(
  JSON.stringify({ losses, graphs, cudnn, trace, gradients: gradients.digest('hex'), choosing }),
);
