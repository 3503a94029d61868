// Makes the file of a small untrained model for tests of the example server.
import { join } from 'node:path';
import { openDevice, PixelCNN, type PixelCnnOptions } from 'pixelcnn';
import { temporaryFolder } from '../helpers/temporary-folder.js';

/** Writes the file to a folder that is removed when the test file ends. */
export async function modelFile(options: PixelCnnOptions = {}): Promise<string> {
  await using device = await openDevice();
  const shape = { levels: 2, hiddenChannels: 16, layers: 4, ...options };
  await using model = await PixelCNN.create(device, shape);
  model.imageSize = { height: 28, width: 28 };
  const file = join(temporaryFolder('server'), 'model.safetensors');
  await model.save(file);
  return file;
}
