// Tests the Python of docs/gated.md, run word for word: logits, masks, and gates that are split by chunk.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { float32Of, parseSafetensors, type SafetensorsTensor } from '../../src/checkpoint/safetensors.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { relativeL2 } from '../helpers/close.js';
import { imagesOfLevels, randomModel, testDevice } from '../helpers/models.js';
import { findTorch } from '../helpers/python.js';
import { skipAloud } from '../helpers/skip.js';

const torch = findTorch();
const interpreter = 'python' in torch ? torch.python : '';
const device = testDevice();
let folder = '';
let blocks: string[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-gated-'));
  const page = await readFile(new URL('../../docs/gated.md', import.meta.url), 'utf8');
  blocks = Array.from(page.matchAll(/```python\n([\s\S]*?)```/g), ([, code]) => code!);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Runs lines of Python in the folder of the test. */
function python(args: readonly string[], input = ''): Promise<unknown> {
  const running = promisify(execFile)(interpreter, [...args], { cwd: folder, timeout: 120_000 });
  running.child.stdin!.end(input);
  return running;
}
const tensorsIn = async (name: string) => parseSafetensors(await readFile(join(folder, name))).tensors;

/** Reads levels (N, C, H, W) as the batch (N, H, W, C) of a model. */
function batchOf(model: PixelCNN, { shape, data }: SafetensorsTensor) {
  const [n, c, h, w] = shape as [number, number, number, number];
  const level = data.map((_, i) => {
    const [image, place] = [Math.floor(i / (c * h * w)), Math.floor(i / c) % (h * w)];
    return data[(image * c + (i % c)) * h * w + place]!;
  });
  return imagesOfLevels(model, Uint8Array.from(level), n, h, w);
}

const configs = [
  { levels: 4, hiddenChannels: 9, layers: 4, headChannels: 7 },
  { levels: 2, hiddenChannels: 6, layers: 2, kernelSize: 5, firstKernelSize: 3 },
  { channels: 3, levels: 5, hiddenChannels: 10, layers: 3, headChannels: 8, firstKernelSize: 5 },
].map((sizes) => ({ architecture: 'gated' as const, ...sizes }));

describe.skipIf(skipAloud('the Python of docs/gated.md', 'reason' in torch ? torch.reason : undefined))(
  'docs/gated.md',
  () => {
    it.each(configs)('its module loads what we save and gives the same logits: %o', async (options) => {
      const model = await randomModel(device(), options, 1, 1.5);
      await model.save(join(folder, 'gated.safetensors'));
      const kept = `
c, n = config['channels'], config['levels']
ordered = logits.view(2, c, n, 28, 28).permute(0, 3, 4, 1, 2)
save_file({'level': level.byte(), 'logits': ordered.detach().contiguous()}, 'out')
state = load_file('gated.safetensors')
live = masks(config)
for name, value in state.items():
    mask = live.pop(name, torch.ones_like(value))
    assert mask.shape == value.shape, name
    assert ((value != 0) == (mask == 1)).all(), name
assert not live, live.keys()
`;
      await python(['-c', blocks[0]! + blocks[1]! + kept]);
      const out = await tensorsIn('out');
      const { data, shape } = await model.logits(batchOf(model, out.get('level')!));
      expect([...shape]).toEqual([...out.get('logits')!.shape]);
      expect(relativeL2(data, float32Of(out.get('logits')!))).toBeLessThan(1e-5);
      await model.dispose();
    });

    it.each(configs)('gates split by chunk are interleaved into ours: %o', async (options) => {
      const definitions = blocks[0]!.slice(0, blocks[0]!.indexOf('with safe_open'));
      const complete = (await randomModel(device(), options, 2)).config;
      const script = fileURLToPath(new URL('chunked.py', import.meta.url));
      const files = ['chunked.safetensors', 'expected'];
      await python([script, JSON.stringify(complete), '3', ...files], definitions);
      await python(['-c', definitions + blocks[2]!]);
      const expected = await tensorsIn('expected');
      const distance = async (name: string) => {
        const model = await PixelCNN.load(device(), join(folder, name));
        expect(model.config).toEqual(complete);
        expect(model.notes.join('\n')).toMatch(/assumed: gates are interleaved/);
        const { data } = await model.logits(batchOf(model, expected.get('images')!));
        await model.save(join(folder, 'gated.safetensors'));
        await model.dispose();
        return relativeL2(data, float32Of(expected.get('logits')!));
      };
      expect(await distance('torch.safetensors')).toBeLessThan(1e-5);
      // There and back: our file of it has the same weights for the module with interleaved gates.
      const [ours, theirs] = [await tensorsIn('gated.safetensors'), await tensorsIn('torch.safetensors')];
      expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
      for (const [name, tensor] of ours) expect(tensor.data).toEqual(theirs.get(name)!.data);
      // Without interleaving it is another network, or with several channels one that the masks refuse.
      const asItIs = await distance('chunked.safetensors').catch((error: { code: string }) => error.code);
      if (complete.channels === 1) expect(asItIs).toBeGreaterThan(0.01);
      else expect(asItIs).toBe('CKPT_MASK');
    });

    it('a module in a wrapper loads, and the prefix is told', async () => {
      const model = await randomModel(device(), configs[0]!, 4, 1.5);
      await model.save(join(folder, 'gated.safetensors'));
      const kept = `
averaged = torch.optim.swa_utils.AveragedModel(model)
save_file(averaged.state_dict(), 'averaged')
save_file(nn.DataParallel(model).state_dict(), 'parallel')
save_file(torch.compile(model).state_dict(), 'compiled')
`;
      await python(['-c', blocks[0]! + kept]);
      for (const [name, prefix] of [
        ['averaged', 'module.'],
        ['parallel', 'module.'],
        ['compiled', '_orig_mod.'],
      ] as const) {
        const loaded = await PixelCNN.load(device(), join(folder, name));
        expect(loaded.weights).toEqual([name === 'averaged' ? 'ema' : 'raw']);
        expect(loaded.notes[0]).toContain(`(prefix '${prefix}')`);
        expect(await loaded.parameters()).toEqual(await model.parameters());
        await loaded.dispose();
      }
      await model.dispose();
    });
  },
);
