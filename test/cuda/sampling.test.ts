// Tests sampling and likelihoods on the GPU: they are causal to the last bit in every precision and give the CPU's
// images.
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import { precisions } from '../../src/device/precision.js';
import { frontSteps } from '../../src/program/front.js';
import { buildSampler } from '../../src/sample/front-sampler.js';
import { passesOf } from '../../src/sample/passes.js';
import { findLeaks, valuesOf, withEachChanged } from '../helpers/causality.js';
import { expectSameBits } from '../helpers/close.js';
import { openGpu } from '../helpers/cuda.js';
import { drawWithLogits } from '../helpers/draw.mjs';
import { imagesOfLevels, randomImages, randomModel } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const networks = [
  { channels: 1, hiddenChannels: 16, layers: 4, levels: 8, kernelSize: 5 },
  { channels: 3, hiddenChannels: 13, layers: 3, levels: 4, kernelSize: 3 },
  // A front of one pixel, with a pass over whole rows, and rows side by side.
  { architecture: 'gated', channels: 1, hiddenChannels: 12, layers: 4, levels: 8 },
  { architecture: 'gated', channels: 3, hiddenChannels: 13, layers: 2, levels: 4, firstKernelSize: 3 },
] as const;

const library = { buildSampler, passesOf, frontSteps };

describe.each(precisions)('%s', (precision) => {
  it.each(networks)(
    'logits see no pixel at or after their own: %o',
    { timeout: 120_000 },
    async (network) => {
      await using device = await openGpu({ precision });
      const order = { h: 4, w: 5, channels: network.channels };
      const model = await randomModel(device, network, 1, 1.2);
      const image = new TestRandom(1).bytes(valuesOf(order));
      const data = withEachChanged(image, (byte) => (byte + 128) % 256);
      const count = 1 + valuesOf(order);
      const images = { data, count, height: order.h, width: order.w, channels: order.channels };
      const { data: logits } = await model.logits(images);
      const { leaks, dependents } = findLeaks(order, logits, network.levels);
      expect(leaks).toEqual([]);
      expect(dependents.some((after) => after.size > 0)).toBe(true);
    },
  );

  it.each(networks)(
    'the sampler draws from the logits of a forward pass: %o',
    { timeout: 120_000 },
    async (network) => {
      await using device = await openGpu({ precision });
      const model = await randomModel(device, network, 2, 1.5);
      const [count, height, width] = [3, 5, 6];
      const { level, logits } = await drawWithLogits(library, model, { count, height, width });
      const full = await model.logits(imagesOfLevels(model, level, count, height, width));
      expectSameBits('logits', logits, full.data);
    },
  );
});

describe('f32', () => {
  it.each(networks)('draws the images that the CPU draws: %o', { timeout: 120_000 }, async (network) => {
    await using gpu = await openGpu();
    await using cpu = await openDevice({ backend: 'cpu' });
    const options = { count: 6, height: 6, width: 8, seed: 11 };
    const [onGpu, onCpu] = [await randomModel(gpu, network, 3, 1.5), await randomModel(cpu, network, 3, 1.5)];
    const [drawn, expected] = [await onGpu.sample(options), await onCpu.sample(options)];
    const differing = drawn.data.filter((byte, i) => byte !== expected.data[i]).length;
    console.info(`${differing} of ${drawn.data.length} values differ from the CPU's`);
    // A value whose uniform lies within rounding of a step of the distribution may fall on either side.
    expect(differing / drawn.data.length).toBeLessThan(0.01);

    const images = randomImages(new TestRandom(4), 5, 6, 7, network.channels);
    const [nats, exact] = [await onGpu.logLikelihood(images), await onCpu.logLikelihood(images)];
    const worst = Math.max(...nats.nats.map((value, i) => Math.abs(value / exact.nats[i]! - 1)));
    expect(worst).toBeLessThan(1e-5);
  });
});
