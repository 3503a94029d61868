// The file of a small model that has learnt nothing: enough for tests of what is around it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDevice, PixelCNN } from 'pixelcnn';
import { afterAll } from 'vitest';

/** Writes the file into a folder that is removed when the test file ends. */
export async function modelFile(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'pixelcnn-server-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  await using device = await openDevice();
  await using model = await PixelCNN.create(device, { levels: 2, hiddenChannels: 16, layers: 4 });
  model.imageSize = { height: 28, width: 28 };
  const file = join(folder, 'model.safetensors');
  await model.save(file);
  return file;
}
