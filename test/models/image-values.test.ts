// Tests bytes and levels: what looks like levels is not taken for bytes, and what is said to be levels comes back
// as levels.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { asBytes } from '../../src/data/levels.js';
import { evaluate, type ImageBatch, type ImageValues, PixelCNN, train } from '../../src/index.js';
import { randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const device = testDevice();
const folder = temporaryFolder('values');
const small = { hiddenChannels: 8, layers: 3, kernelSize: 3 };

/** Independent values 0 … below `levels`, each as likely: log2(levels) bits per dimension. */
function uniformLevels(levels: number, values?: ImageValues, seed = 1): ImageBatch {
  const random = new TestRandom(seed);
  const data = Uint8Array.from({ length: 64 * 64 }, () => random.int(0, levels - 1));
  return { data, count: 64, height: 8, width: 8, channels: 1, ...(values && { values }) };
}

const refused = (code: string) => expect.objectContaining({ name: 'PixelCnnError', code });

describe('values that nobody has named', () => {
  it.each([2, 3, 16, 32, 255])(
    'and that are all below %i levels are refused by every call',
    async (levels) => {
      const model = await randomModel(device(), { ...small, levels }, 1);
      const images = uniformLevels(levels);
      const known = new Uint8Array(64 * 64);
      const wrong = refused('ERR_IMAGE_VALUES');
      expect(() => train(model, images)).toThrow(wrong);
      const ordinary: ImageBatch = { ...images, data: new Uint8Array(64 * 64).fill(255) };
      expect(() => train(model, ordinary, { validation: images })).toThrow(wrong);
      await expect(evaluate(model, images)).rejects.toThrow(wrong);
      await expect(model.logLikelihood(images)).rejects.toThrow(wrong);
      await expect(model.logits(images)).rejects.toThrow(wrong);
      await expect(model.trace(images)).rejects.toThrow(wrong);
      await expect(model.complete({ images, known })).rejects.toThrow(wrong);
      await expect(evaluate(model, images)).rejects.toMatchObject({
        message: expect.stringContaining(`largest value is ${levels - 1}`),
        remedy: expect.stringContaining('say with `values`'),
      });
      await model.dispose();
    },
  );

  it('are bytes where one is too large for a level, where all are black, and where levels are bytes', async () => {
    const one: ImageBatch = { ...uniformLevels(16), data: uniformLevels(16).data.slice() };
    one.data[777] = 16;
    const black: ImageBatch = { ...one, data: new Uint8Array(64 * 64) };
    const model = await randomModel(device(), { ...small, levels: 16 }, 1);
    for (const images of [one, black]) await evaluate(model, images);
    const bytes = await randomModel(device(), { ...small, levels: 256 }, 1);
    await evaluate(bytes, uniformLevels(256));
    await model.dispose();
    await bytes.dispose();
  });

  it('are bytes where the caller says so', async () => {
    const model = await randomModel(device(), { ...small, levels: 16 }, 1);
    const dark = await evaluate(model, uniformLevels(16, 'bytes'));
    const black = await evaluate(model, { ...uniformLevels(16), data: new Uint8Array(64 * 64) });
    expect(dark.nats).toBe(black.nats);
    await model.dispose();
  });
});

describe('levels', () => {
  it('have the likelihood and logits of the bytes that stand for them, bit for bit', async () => {
    for (const levels of [2, 5, 32, 256]) {
      const model = await randomModel(device(), { ...small, levels }, 1);
      const images = uniformLevels(levels, 'levels');
      const bytes: ImageBatch = { ...images, data: asBytes(images.data, 'levels', levels), values: 'bytes' };
      expect(await model.logLikelihood(images)).toEqual(await model.logLikelihood(bytes));
      expect(await model.logits(images)).toEqual(await model.logits(bytes));
      expect(await evaluate(model, images)).toEqual(await evaluate(model, bytes));
      await model.dispose();
    }
  });

  it.each([
    { levels: 2, bits: 1 },
    { levels: 32, bits: 5 },
  ])(
    '$levels of them that are independent take $bits bits, and are drawn as often',
    async ({ levels, bits }) => {
      const model = await PixelCNN.create(device(), { ...small, levels });
      const images = uniformLevels(levels, 'levels');
      await train(model, images, { steps: 300, batchSize: 16, learningRate: 3e-3 });
      // Images of their own: on the ones it saw a model may be a little better than the truth.
      const { bitsPerDim } = await evaluate(model, uniformLevels(levels, 'levels', 2));
      expect(bitsPerDim).toBeGreaterThan(bits * 0.98);
      expect(bitsPerDim).toBeLessThan(bits * 1.06);
      const drawn = await model.sample({ count: 32, seed: 1 });
      expect(drawn.values).toBe('levels');
      expect(new Set(drawn.data).size).toBe(levels);
      expect(Math.max(...drawn.data)).toBe(levels - 1);
      const mean = drawn.data.reduce((sum, value) => sum + value, 0) / drawn.data.length;
      expect(mean / ((levels - 1) / 2)).toBeGreaterThan(0.85);
      expect(mean / ((levels - 1) / 2)).toBeLessThan(1.15);
      await model.dispose();
    },
  );

  it('are kept in files, and a batch that contradicts the file is refused', async () => {
    for (const values of ['levels', 'bytes'] as const) {
      const model = await PixelCNN.create(device(), { ...small, levels: 16 });
      expect(model.values).toBeUndefined();
      const images = uniformLevels(16, values);
      const run = { steps: 2, checkpointFolder: join(folder, values) };
      const { checkpoint } = await train(model, images, run);
      expect(model.values).toBe(values);
      await model.save(join(folder, `${values}.safetensors`));
      for (const path of [join(folder, `${values}.safetensors`), checkpoint!]) {
        const loaded = await PixelCNN.load(device(), path);
        expect(loaded.values).toBe(values);
        expect((await loaded.sample({ seed: 1 })).values).toBe(values);
        const other = values === 'levels' ? 'bytes' : 'levels';
        const contradicting = { ...images, values: other } as const;
        await expect(evaluate(loaded, contradicting)).rejects.toThrow(refused('ERR_IMAGE_VALUES'));
        expect(() => train(loaded, contradicting)).toThrow(refused('ERR_IMAGE_VALUES'));
        await evaluate(loaded, images);
        await loaded.dispose();
      }
      await model.dispose();
    }
  });

  it('a batch without values counts as bytes to a model of levels, and is refused', async () => {
    const model = await PixelCNN.create(device(), { ...small, levels: 16 });
    await train(model, uniformLevels(16, 'levels'), { steps: 1 });
    const unnamed: ImageBatch = { ...uniformLevels(16), data: new Uint8Array(64 * 64).fill(200) };
    await expect(model.logLikelihood(unnamed)).rejects.toThrow(refused('ERR_IMAGE_VALUES'));
    await model.dispose();
  });

  it('a run does not go on with the other kind of values', async () => {
    const checkpointFolder = join(folder, 'run');
    const data = uniformLevels(16, 'bytes');
    const first = await PixelCNN.create(device(), { ...small, levels: 16 });
    await train(first, data, { steps: 1, checkpointFolder });
    const second = await PixelCNN.create(device(), { ...small, levels: 16 });
    const resumed = train(
      second,
      { ...data, values: 'levels' },
      { steps: 2, checkpointFolder, resume: true },
    );
    await expect(resumed).rejects.toThrow(refused('CKPT_MISMATCH'));
    expect(second.values).toBeUndefined();
    await first.dispose();
    await second.dispose();
  });

  it('beyond the number of levels, or under a protocol that makes levels of bytes, are refused', async () => {
    const model = await randomModel(device(), { ...small, levels: 2 }, 1);
    const three = uniformLevels(3, 'levels');
    await expect(model.logLikelihood(three)).rejects.toThrow(refused('ERR_OUT_OF_RANGE'));
    const masks = uniformLevels(2, 'levels');
    for (const protocol of ['threshold', 'dynamic'] as const) {
      await expect(evaluate(model, masks, { protocol })).rejects.toThrow(refused('ERR_INVALID_ARG_VALUE'));
      expect(() => train(model, masks, { protocol })).toThrow(refused('ERR_INVALID_ARG_VALUE'));
    }
    const misspelt = { ...masks, values: 'level' } as unknown as ImageBatch;
    await expect(evaluate(model, misspelt)).rejects.toThrow(refused('ERR_INVALID_ARG_VALUE'));
    await model.dispose();
  });

  it('that are known stay in a completion, and the others are drawn as levels', async () => {
    const model = await randomModel(device(), { ...small, levels: 16 }, 1);
    const images = uniformLevels(16, 'levels');
    const known = Uint8Array.from({ length: 64 * 64 }, (_, i) => (i % 64 < 32 ? 1 : 0));
    const completed = await model.complete({ images, known, seed: 1 });
    expect(completed.values).toBe('levels');
    expect(completed.data.filter((_, i) => known[i])).toEqual(images.data.filter((_, i) => known[i]));
    expect(completed.data).not.toEqual(images.data);
    const bytes: ImageBatch = { ...images, data: asBytes(images.data, 'levels', 16), values: 'bytes' };
    const same = await model.complete({ images: bytes, known, seed: 1 });
    expect(same.data).toEqual(asBytes(completed.data, 'levels', 16));
    await model.dispose();
  });
});
