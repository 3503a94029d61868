// Files in both directions: PyTorch loads what model.save writes, and we load a PyTorch state dict, with equal logits.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  encodeSafetensors,
  float32Of,
  parseSafetensors,
  type SafetensorsTensor,
} from '../../src/checkpoint/safetensors.js';
import { PixelCNN } from '../../src/models/pixelcnn.js';
import { expectClose } from '../helpers/close.js';
import { imagesOfLevels, randomModel, testDevice } from '../helpers/models.js';
import { findTorch } from '../helpers/python.js';
import { TestRandom } from '../helpers/random.js';
import { skipAloud } from '../helpers/skip.js';
import { maskOf } from '../oracle/masked-conv2d.js';

const torch = findTorch();
const script = fileURLToPath(new URL('check.py', import.meta.url));
const device = testDevice();
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-torch-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const python = (...args: string[]) =>
  promisify(execFile)('python' in torch ? torch.python : '', [script, ...args], { timeout: 120_000 });

const configs = [
  { channels: 1, hiddenChannels: 64, layers: 7, levels: 256, kernelSize: 7 },
  { channels: 1, hiddenChannels: 9, layers: 3, levels: 2, kernelSize: 5 },
  { channels: 3, hiddenChannels: 25, layers: 4, levels: 16, kernelSize: 3 },
  { channels: 3, hiddenChannels: 10, layers: 2, levels: 7, kernelSize: 7 },
];
const [n, height, width] = [3, 11, 9];

/** (N, C, H, W) to (N, H, W, C). */
function toNhwc(values: Uint8Array, channels: number): Uint8Array {
  return values.map((_, i) => {
    const pixel = Math.floor(i / channels);
    const image = Math.floor(pixel / (height * width));
    return values[(image * channels + (i % channels)) * height * width + (pixel % (height * width))]!;
  });
}

describe.skipIf(skipAloud('PyTorch comparison', 'reason' in torch ? torch.reason : undefined))(
  'PyTorch',
  () => {
    it.each(configs)('loads what we save and computes the same logits: %o', async (config) => {
      const file = join(folder, 'saved.safetensors');
      const model = await randomModel(device(), config, 1);
      await model.save(file);
      const random = new TestRandom(2);
      const planes = Uint8Array.from({ length: n * config.channels * height * width }, () => {
        return random.int(0, config.levels - 1);
      });
      const images: SafetensorsTensor = {
        dtype: 'U8',
        shape: [n, config.channels, height, width],
        data: planes,
      };
      await writeFile(join(folder, 'images'), encodeSafetensors(new Map([['images', images]])));
      await python('logits', file, join(folder, 'images'), join(folder, 'logits'));
      const expected = parseSafetensors(await readFile(join(folder, 'logits'))).tensors.get('logits')!;
      const batch = imagesOfLevels(model, toNhwc(planes, config.channels), n, height, width);
      for (const algorithm of ['direct', 'winograd'] as const) {
        const { data, shape } = await model.logits(batch, { algorithm });
        expect([...shape]).toEqual([...expected.shape]);
        expectClose(`logits, ${algorithm}`, data, float32Of(expected));
      }
      await model.dispose();
    });

    it.each(configs)('state dicts load here, dead taps and all: %o', async (config) => {
      const [file, expected] = [join(folder, 'state'), join(folder, 'expected')];
      await python('export', JSON.stringify(config), '3', String(height), String(width), file, expected);
      const model = await PixelCNN.load(device(), file);
      expect(model.config).toEqual(config);
      const { tensors } = parseSafetensors(await readFile(expected));
      const level = toNhwc(Uint8Array.from(tensors.get('images')!.data), config.channels);
      const { data } = await model.logits(imagesOfLevels(model, level, n, height, width));
      expectClose('logits', data, float32Of(tensors.get('logits')!));
      const first = (await model.parameters()).get('net.0.weight')!;
      const mask = { n, h: height, w: width, c: config.channels, k: config.hiddenChannels };
      const area = config.kernelSize ** 2;
      const wrong = first.data.findIndex((value, i) => {
        const filter = Math.floor(i / area);
        const live = maskOf(
          { ...mask, size: config.kernelSize, mask: 'A', groups: config.channels },
          Math.floor(filter / config.channels),
          filter % config.channels,
          Math.floor((i % area) / config.kernelSize),
          i % config.kernelSize,
        );
        return live === 0 && value !== 0;
      });
      expect(wrong, 'a weight under the mask').toBe(-1);
      await model.dispose();
    });
  },
);
