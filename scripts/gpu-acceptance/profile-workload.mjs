// Runs what ncu watches: one training step of the default model, or drawing images, op by op instead of in graphs.
import { openDevice, PixelCNN } from '../../dist/index.js';
import { trainSchema } from '../../dist/train/options.js';
import { TrainingStep } from '../../dist/train/training-step.js';
import { waves } from './waves.mjs';

process.env.PIXELCNN_GRAPHS = '0';
const [batch, side] = [256, 28];
const device = await openDevice({ backend: 'cuda' });
const model = await PixelCNN.create(device, {});
if (process.argv[2] === 'training') {
  const size = { height: side, width: side, dynamic: false, algorithm: 'auto' };
  const step = await TrainingStep.create(model.internals(), size);
  const { data: bytes } = waves(batch, side, side, 1, 1);
  const images = { bytes, count: batch };
  await step.run(images, trainSchema.parse({ maxGradientNorm: 1 }));
} else {
  await model.sample({ count: batch, height: side, width: side, seed: 0 });
}
await device.dispose();
