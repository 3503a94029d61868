// Tests likelihoods: they sum to one, agree with the logits and with float64, and do not depend on other images of
// a call.
import { describe, expect, it } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { bytesOfLevels, levelOfByte } from '../../src/data/levels.js';
import { imagesPerRun } from '../../src/models/likelihood.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { expectClose, expectSameBits } from '../helpers/close.js';
import { imagesOf, randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { crossEntropy, networkGradients } from '../oracle/network.js';

const device = testDevice();

/** Every image of this size with `levels` levels. */
function allImages(height: number, width: number, channels: number, levels: number): ImageBatch {
  const values = height * width * channels;
  const count = levels ** values;
  const byteOf = bytesOfLevels(levels);
  const data = Uint8Array.from({ length: count * values }, (_, i) => {
    const place = levels ** (i % values);
    return byteOf[Math.floor(Math.floor(i / values) / place) % levels]!;
  });
  return { data, count, height, width, channels };
}

describe('probabilities of all images', () => {
  it.each([
    { size: [2, 2], options: { channels: 1, hiddenChannels: 8, layers: 4, levels: 4, kernelSize: 3 } },
    { size: [2, 2], options: { channels: 1, hiddenChannels: 16, layers: 5, levels: 4, kernelSize: 7 } },
    { size: [1, 4], options: { channels: 1, hiddenChannels: 5, layers: 3, levels: 4, kernelSize: 5 } },
    { size: [1, 2], options: { channels: 3, hiddenChannels: 9, layers: 4, levels: 2, kernelSize: 3 } },
    { size: [2, 1], options: { channels: 3, hiddenChannels: 7, layers: 4, levels: 2, kernelSize: 3 } },
  ])('sum to 1: %o', async ({ size: [height, width], options }) => {
    for (const seed of [1, 2, 3]) {
      const model = await randomModel(device(), options, seed, 2);
      const images = allImages(height!, width!, options.channels, options.levels);
      const { nats } = await model.logLikelihood(images);
      const sum = nats.reduce((total, value) => total + Math.exp(-value), 0);
      expect(Math.abs(sum - 1), `seed ${seed}: sum ${sum} over ${images.count} images`).toBeLessThanOrEqual(
        1e-6,
      );
      // Not the uniform distribution, which would sum to 1 as well.
      expect(Math.max(...nats) - Math.min(...nats)).toBeGreaterThan(0.5);
      await model.dispose();
    }
  });

  it('a model whose first pixel is seen by itself does not pass', async () => {
    const model = await randomModel(
      device(),
      { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 },
      1,
      2,
    );
    const images = allImages(2, 2, 1, 4);
    const { data } = await model.logits(images);
    // As if each pixel's logits favoured the level it has.
    const cheated = data.map((logit, i) => {
      const level = levelOfByte(images.data[Math.floor(i / 4)]!, 4);
      return i % 4 === level ? logit + 0.01 : logit;
    });
    const nats = crossEntropy(
      cheated,
      images.data.map((byte) => levelOfByte(byte, 4)),
      images.count,
      4,
    );
    const sum = nats.reduce((total, value) => total + Math.exp(-value), 0);
    expect(Math.abs(sum - 1)).toBeGreaterThan(1e-3);
    await model.dispose();
  });
});

describe('images per run', () => {
  it('keep a GPU busy and fit a transfer', () => {
    const gpu = 2048 * 28 * 28;
    expect(imagesPerRun(gpu, 28 * 28, 1)).toBe(2048);
    for (const [channels, levels] of [
      [1, 2],
      [1, 256],
      [3, 256],
      [16, 256],
    ] as const) {
      const images = imagesPerRun(gpu, 32 * 32, channels * levels);
      expect(images).toBeGreaterThanOrEqual(1);
      expect(images * 32 * 32 * channels * levels * 4).toBeLessThan(2 ** 31);
    }
    expect(imagesPerRun(16 * 28 * 28, 28 * 28, 256)).toBe(16);
  });
});

describe('log-likelihood', () => {
  it.each([2, 16, 256])(
    'of an untrained model is near log2(levels) bits per dimension, %d levels',
    async (levels) => {
      const model = await PixelCNN.create(device(), { levels, hiddenChannels: 32, layers: 5, seed: 3 });
      const images = randomImages(new TestRandom(4), 4, 12, 12, 1);
      const { nats, bitsPerDim } = await model.logLikelihood(images);
      nats.forEach((value, i) => {
        expect(bitsPerDim[i]).toBeCloseTo(value / (144 * Math.LN2), 12);
        expect(bitsPerDim[i]).toBeGreaterThan(0.9 * Math.log2(levels));
        expect(bitsPerDim[i]).toBeLessThan(1.35 * Math.log2(levels));
      });
      await model.dispose();
    },
  );

  it.each([
    { channels: 1, levels: 256, kernelSize: 5, hiddenChannels: 10, layers: 4 },
    { channels: 3, levels: 8, kernelSize: 3, hiddenChannels: 9, layers: 3 },
  ])('agrees with the logits and with float64: %o', async (options) => {
    const model = await randomModel(device(), options, 5);
    const images = randomImages(new TestRandom(6), 3, 6, 5, options.channels);
    const target = images.data.map((byte) => levelOfByte(byte, options.levels));
    const { data, shape } = await model.logits(images);
    const { nats } = await model.logLikelihood(images);
    expect(shape).toEqual([3, 6, 5, options.channels, options.levels]);
    expectClose('nats from logits', nats, crossEntropy(data, target, 3, options.levels), 1e-6);
    const parameters = new Map(
      [...(await model.parameters())].map(([name, { data: values }]) => [name, values]),
    );
    const expected = networkGradients(options, parameters, { n: 3, h: 6, w: 5 }, target);
    expectClose('nats in float64', nats, expected.nats, 1e-6);
    await model.dispose();
  });

  it.each(['direct', 'winograd'] as const)(
    'does not depend on the rest of the batch, %s',
    async (algorithm) => {
      const options = { channels: 3, levels: 32, kernelSize: 7, hiddenChannels: 24, layers: 5 };
      const model = await randomModel(device(), options, 7);
      // More images than one run of the forward program takes.
      const images = randomImages(new TestRandom(8), 60, 16, 16, 3);
      const together = await model.logLikelihood(images, { algorithm });
      const logits = await model.logits(imagesOf(images, 0, 10), { algorithm });
      for (const [first, count] of [
        [0, 1],
        [59, 1],
        [3, 7],
        [20, 33],
      ] as const) {
        const part = await model.logLikelihood(imagesOf(images, first, count), { algorithm });
        expect(part.nats).toEqual(together.nats.slice(first, first + count));
      }
      const perImage = logits.data.length / 10;
      const alone = await model.logits(imagesOf(images, 9, 1), { algorithm });
      expectSameBits('logits of image 9', alone.data, logits.data.slice(9 * perImage));
      await model.dispose();
    },
  );

  it('has the same bits with 1 and 3 threads', async () => {
    const { openDevice } = await import('../../src/device/device.js');
    const images = randomImages(new TestRandom(9), 5, 9, 9, 1);
    const results = [];
    for (const threads of [1, 3]) {
      const own = await openDevice({ backend: 'cpu', threads });
      const model = await randomModel(own, { hiddenChannels: 20, layers: 4, kernelSize: 5 }, 10);
      results.push((await model.logLikelihood(images)).nats);
      await own.dispose();
    }
    expect(results[0]).toEqual(results[1]);
  });

  it('an aborted signal rejects with its reason', async () => {
    const model = await randomModel(device(), { hiddenChannels: 8, layers: 3 }, 11);
    const images = randomImages(new TestRandom(12), 300, 28, 28, 1);
    const reason = new Error('enough');
    await expect(model.logLikelihood(images, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const work = model.logits(imagesOf(images, 0, 100), { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 5);
    await expect(work).rejects.toBe(reason);
    await model.dispose();
  });
});
