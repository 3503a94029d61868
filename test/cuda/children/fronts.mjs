// Draws the same images in several ways on a GPU and prints digests of them as JSON: by single fronts and by a block.
// With LOG, which is PIXELCNN_EMULATOR_LOG, also by one call after the other, with what each launched. At last calls of
// many batches, of which two are at work at a time.
// Usage: node fronts.mjs [LOG]
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { openDevice, PixelCNN } from '../../../dist/index.js';
import { frontSteps } from '../../../dist/program/front.js';
import { buildSampler } from '../../../dist/sample/front-sampler.js';
import { passesOf } from '../../../dist/sample/passes.js';
import { drawWithLogits } from '../../helpers/draw.mjs';

const log = process.argv[2];
const digest = (data) => createHash('sha256').update(data).digest('hex');
const device = await openDevice({ backend: 'cuda', precision: 'f32' });
const model = await PixelCNN.create(device, {
  channels: 1,
  hiddenChannels: 8,
  layers: 3,
  levels: 16,
  kernelSize: 3,
});
const size = { count: 3, height: 5, width: 4, seed: 7, temperature: 3 };
const report = { steps: 4 + 2 * 4, opsPerFront: 3, calls: [] };
for (const program of ['front', 'block']) {
  const { logits } = await drawWithLogits({ buildSampler, passesOf, frontSteps }, model, {
    ...size,
    program,
  });
  report[program] = digest(logits);
}
for (let call = 0; log !== undefined && call < 6; call += 1) {
  writeFileSync(log, '');
  const { data } = await model.sample(size);
  report.calls.push({ drawn: digest(data), launches: readFileSync(log, 'utf8').trim().split('\n') });
}
for (const name of ['pixelsPerSampledBatch', 'pixelsPerForward'])
  Object.defineProperty(device, name, { value: 2 * size.height * size.width });
report.batches = [];
for (let call = 0; call < 3; call += 1)
  report.batches.push(digest((await model.sample({ ...size, count: 15 })).data));
await device.dispose();
process.stdout.write(JSON.stringify(report));
