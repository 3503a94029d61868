// Tests files in both directions: PyTorch loads what model.save writes, and we load a PyTorch state dict, with
// equal logits.
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
import { PixelCNN } from '../../src/pixelcnn.js';
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

const interpreter = 'python' in torch ? torch.python : '';
const python = (...args: string[]) =>
  promisify(execFile)(interpreter, [script, ...args], { timeout: 120_000 });

const configs = [
  { channels: 1, hiddenChannels: 64, layers: 7, levels: 256, kernelSize: 7 },
  { channels: 1, hiddenChannels: 9, layers: 3, levels: 2, kernelSize: 5 },
  { channels: 3, hiddenChannels: 25, layers: 4, levels: 16, kernelSize: 3 },
  { channels: 3, hiddenChannels: 10, layers: 2, levels: 7, kernelSize: 7 },
];
const [n, height, width] = [3, 11, 9];

/** (N, C, H, W) to (N, H, W, C). */
function toNhwc(values: Uint8Array, channels: number, rows = height, columns = width): Uint8Array {
  const area = rows * columns;
  return values.map((_, i) => {
    const pixel = Math.floor(i / channels);
    return values[(Math.floor(pixel / area) * channels + (i % channels)) * area + (pixel % area)]!;
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

    describe('state dicts load here as people save them', () => {
      const kinds: readonly [kind: string, config: (typeof configs)[number], note: RegExp][] = [
        ['plain', configs[0]!, /no mask buffers; assumed/],
        ['masks', configs[2]!, /mask buffers of 4 layers checked/],
        ['stricter masks', configs[1]!, /stricter mask buffers.*81 of net\.2\.weight/],
        ['fused norms', configs[2]!, /no mask buffers; the masks are in the weights/],
        ['compiled', configs[1]!, /'_orig_mod\.net\.0' to '_orig_mod\.net\.4' \(prefix '_orig_mod\.net\.'\)/],
        ['parallel', configs[3]!, /prefix 'module\.net\.'/],
        ['compiled parallel', configs[2]!, /prefix '_orig_mod\.module\.net\.'/],
        ['averaged', configs[1]!, /prefix 'module\.net\.'/],
        ['bare', configs[2]!, /'0' to '6' \(no prefix\)/],
      ];
      const fileOf = (kind: string) => [join(folder, kind), join(folder, `${kind} expected`)] as const;
      beforeAll(async () => {
        const size = [String(height), String(width)];
        const jobs = kinds.map(([kind, config]) => {
          return ['export', JSON.stringify(config), '5', ...size, ...fileOf(kind), kind];
        });
        await python('batch', JSON.stringify(jobs));
      }, 120_000);

      it.each(kinds)('%s', async (kind, config, note) => {
        const [file, expected] = fileOf(kind);
        const model = await PixelCNN.load(device(), file, config);
        expect(model.weights).toEqual([kind === 'averaged' ? 'ema' : 'raw']);
        expect(
          model.notes.filter((one) => note.test(one)),
          model.notes.join('\n'),
        ).toHaveLength(1);
        const { tensors } = parseSafetensors(await readFile(expected));
        const level = toNhwc(Uint8Array.from(tensors.get('images')!.data), config.channels);
        const { data } = await model.logits(imagesOfLevels(model, level, n, height, width));
        expectClose('logits', data, float32Of(tensors.get('logits')!));
        await model.dispose();
      });
    });

    it.each([configs[1]!, configs[2]!])(
      "README's lines of Python, run word for word, give the same logits: %o",
      async (config) => {
        const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
        expect(readme).toContain("// PyTorch's names: loads into the usual nn.Sequential as it is");
        const [, lines] = /```python\n([\s\S]*?)```/.exec(readme)!;
        const model = await randomModel(device(), config, 6);
        await model.save(join(folder, 'mine.safetensors'));
        const kept =
          "from safetensors.torch import save_file\nsave_file({'level': level.byte(), 'logits': logits.detach().contiguous()}, 'out')\n";
        await promisify(execFile)(interpreter, ['-c', lines! + kept], { cwd: folder, timeout: 120_000 });
        const { tensors } = parseSafetensors(await readFile(join(folder, 'out')));
        const [level, logits] = [tensors.get('level')!, tensors.get('logits')!];
        const [count, channels, rows, columns] = level.shape as [number, number, number, number];
        const expected = float32Of(logits);
        const images = imagesOfLevels(
          model,
          toNhwc(Uint8Array.from(level.data), channels, rows, columns),
          count,
          rows,
          columns,
        );
        const { data } = await model.logits(images);
        const outputs = channels * config.levels;
        expect(logits.shape).toEqual([count, outputs, rows, columns]);
        let largest = 0;
        for (let at = 0; at < data.length; at += 1) {
          const [pixel, output] = [Math.floor(at / outputs), at % outputs];
          const [image, place] = [Math.floor(pixel / (rows * columns)), pixel % (rows * columns)];
          const theirs = expected[(image * outputs + output) * rows * columns + place]!;
          largest = Math.max(largest, Math.abs(data[at]! - theirs));
        }
        expect(largest).toBeLessThan(1e-4);
        expect(Math.max(...expected.slice(0, 10_000).map(Math.abs))).toBeGreaterThan(0.1);
        await model.dispose();
      },
    );

    it.each([
      ['checkpoint', 'a PyTorch file (.pt, a zip with a pickle in it)'],
      ['pickle', 'a Python pickle, as torch.save wrote it in old versions of PyTorch'],
    ])('a .pt is called what it is, and the line that is told converts it: %s', async (how, what) => {
      const config = configs[2]!;
      const model = await randomModel(device(), config, 7);
      await model.save(join(folder, 'source.safetensors'));
      await python('save', join(folder, 'source.safetensors'), join(folder, 'model.pt'), how);
      const error = await PixelCNN.load(device(), join(folder, 'model.pt')).catch(
        (caught: unknown) => caught,
      );
      expect(error).toMatchObject({
        code: 'CKPT_FORMAT',
        message: `${join(folder, 'model.pt')} is ${what}; models are safetensors files`,
      });
      const [, line] = /convert it in Python: (.*) \(of a model/.exec((error as { remedy: string }).remedy)!;
      await promisify(execFile)(interpreter, ['-c', line!], { cwd: folder, timeout: 120_000 });
      const again = await PixelCNN.load(device(), join(folder, 'model.safetensors'));
      expect(await again.parameters()).toEqual(await model.parameters());
      await Promise.all([model.dispose(), again.dispose()]);
    });

    it('a TorchScript file is called what it is', async () => {
      await python('save', 'none', join(folder, 'script.pt'), 'script');
      await expect(PixelCNN.load(device(), join(folder, 'script.pt'))).rejects.toMatchObject({
        code: 'CKPT_FORMAT',
        message: expect.stringContaining('is a TorchScript model (.pt, a zip)'),
      });
    });
  },
);
