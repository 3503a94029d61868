// Tests that files which pixelcnn 0.1.0 wrote still load, and that a run continues from its checkpoint.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseSafetensors } from '../../src/checkpoint/safetensors.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { train } from '../../src/train/trainer.js';
import { testDevice } from '../helpers/models.js';

const device = testDevice();
const pathOf = (name: string) =>
  fileURLToPath(new URL(`./written-by-0.1.0/${name}.safetensors`, import.meta.url));

/** The images and settings of the run that wrote them. */
const images = {
  data: Uint8Array.from({ length: 8 * 5 * 6 * 3 }, (_, i) => (i * 7919 + (i >> 3) * 31) % 256),
  count: 8,
  height: 5,
  width: 6,
  channels: 3,
};
const settings = { batchSize: 4, protocol: 'levels', emaDecay: 0.9, validation: 0, seed: 3 } as const;

describe('of 0.1.0', () => {
  it('a model loads, with its configuration and all of its weights', async () => {
    const { tensors } = parseSafetensors(await readFile(pathOf('model')), {});
    const model = await PixelCNN.load(device(), pathOf('model'));
    expect(model.config).toEqual({ channels: 3, levels: 4, hiddenChannels: 6, layers: 3, kernelSize: 3 });
    expect([model.imageSize, model.values, model.weights]).toEqual([
      { height: 5, width: 6 },
      'bytes',
      ['ema'],
    ]);
    const parameters = await model.parameters();
    expect([...parameters.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [name, { data }] of parameters)
      expect(Buffer.from(data.buffer).equals(tensors.get(name)!.data), name).toBe(true);
    model.dispose();
  });

  it('a checkpoint continues at its step, and its weights are those of the model', async () => {
    const saved = await PixelCNN.load(device(), pathOf('model'));
    const model = await PixelCNN.create(device(), saved.config);
    const run = train(model, images, { ...settings, steps: 6, resume: pathOf('checkpoint') });
    const steps: number[] = [];
    for await (const event of run) if (event.type === 'step') steps.push(event.step);
    expect(steps).toEqual([5, 6]);
    const loaded = await PixelCNN.load(device(), pathOf('checkpoint'));
    expect(await loaded.parameters('ema')).toEqual(await saved.parameters('ema'));
    for (const each of [saved, model, loaded]) each.dispose();
  });
});
