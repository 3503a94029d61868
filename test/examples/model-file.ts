// Makes the files of small models for tests of the example server.
import { join } from 'node:path';
import { type ImageBatch, openDevice, PixelCNN, type PixelCnnOptions, train } from 'pixelcnn';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const shape = { levels: 2, hiddenChannels: 16, layers: 4 };

/** Writes the file of an untrained model to a folder that is removed when the test file ends. */
export async function modelFile(options: PixelCnnOptions = {}): Promise<string> {
  await using device = await openDevice();
  await using model = await PixelCNN.create(device, { ...shape, ...options });
  model.imageSize = { height: 28, width: 28 };
  return await saved(model);
}

/**
 * Writes the file of a model with classes of these names, which may also be left out. It is trained for a few steps, so
 * that classes make a difference: images of the first are black, and each next has more white columns at its left.
 */
export async function classModelFile(classNames: string[]): Promise<string> {
  await using device = await openDevice();
  const classes = classNames.length;
  await using model = await PixelCNN.create(device, { ...shape, condition: { classes, none: true } });
  const data = Uint8Array.from({ length: classes * 28 * 28 }, (_, at) => {
    const label = Math.floor(at / (28 * 28));
    return at % 28 < (28 * label) / classes ? 255 : 0;
  });
  const labels = Uint8Array.from(classNames.keys());
  const images: ImageBatch = { data, count: classes, height: 28, width: 28, channels: 1, labels, classNames };
  const options = { steps: 60, batchSize: classes, learningRate: 0.01, conditionDropout: 0.1, seed: 1 };
  for await (const _event of train(model, images, { ...options, protocol: 'threshold' }));
  return await saved(model);
}

async function saved(model: PixelCNN): Promise<string> {
  const file = join(temporaryFolder('server'), 'model.safetensors');
  await model.save(file);
  return file;
}
