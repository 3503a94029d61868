// Tests that after dispose everything is refused with a code, work in flight settles, and a wrong `this` never
// crashes.
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import * as api from '../../src/index.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const device = testDevice();
const options = { hiddenChannels: 6, layers: 3, levels: 4, kernelSize: 3 };

describe('after dispose', () => {
  it('everything is refused with ERR_DISPOSED, and disposing twice is fine', async () => {
    const own = await openDevice({ backend: 'cpu', threads: 1 });
    const model = await randomModel(own, options, 1);
    const survivor = await randomModel(own, options, 2);
    await model.dispose();
    await model.dispose();
    const images = randomImages(new TestRandom(6), 1, 4, 4, 1);
    const calls = (of: PixelCNN) => [
      () => of.logits(images),
      () => of.logLikelihood(images),
      () => of.sample({ height: 3, width: 3 }),
      async () => of.sampleStream({ height: 3, width: 3 }).next(),
      () => of.complete({ images, known: new Uint8Array(16) }),
      () => of.parameters(),
      () => of.save('/no/such/folder/x'),
      () => api.evaluate(of, images),
    ];
    for (const call of calls(model)) await expect(call()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    expect((await survivor.sample({ height: 3, width: 3 })).count).toBe(1);
    const [a, b] = [own.dispose(), own.dispose()];
    expect(a).toBe(b);
    await a;
    expect(own.disposed).toBe(true);
    for (const call of calls(survivor)) await expect(call()).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await expect(PixelCNN.create(own)).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
    await survivor.dispose();
  });

  it('work in flight of a disposed device ends or is refused, each call once', async () => {
    const own = await openDevice({ backend: 'cpu' });
    const model = await randomModel(own, { ...options, hiddenChannels: 32 }, 1);
    const calls = Array.from({ length: 20 }, (_, seed) => {
      return model.sample({ height: 24, width: 24, count: 8, seed });
    });
    const work = Promise.allSettled(calls);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await own.dispose();
    for (const { status, ...rest } of await work) {
      if (status === 'rejected')
        expect((rest as PromiseRejectedResult).reason).toMatchObject({ code: 'ERR_DISPOSED' });
    }
  });

  it('a model disposed while it samples gives the images or ERR_DISPOSED', async () => {
    const model = await randomModel(device(), { ...options, hiddenChannels: 32 }, 1);
    const expected = await model.sample({ height: 24, width: 24, count: 40, seed: 1 });
    const work = model.sample({ height: 24, width: 24, count: 40, seed: 1 });
    await model.dispose();
    const [result] = await Promise.allSettled([work]);
    if (result.status === 'fulfilled') expect(result.value).toEqual(expected);
    else expect(result.reason).toMatchObject({ code: 'ERR_DISPOSED' });
  });

  it('await using disposes', async () => {
    let kept: api.Device;
    {
      await using own = await openDevice({ backend: 'cpu', threads: 1 });
      await using model = await randomModel(own, options, 1);
      expect((await model.sample({ height: 2, width: 2 })).count).toBe(1);
      kept = own;
    }
    expect(kept.disposed).toBe(true);
  });

  it('methods on a wrong this are a TypeError or have a code, never a crash', async () => {
    const model = await randomModel(device(), options, 1);
    for (const name of ['sample', 'logits', 'dispose', 'parameters', 'save'] as const) {
      for (const self of [{}, undefined, device(), Object.create(PixelCNN.prototype), new Proxy(model, {})]) {
        const method = model[name] as (...args: unknown[]) => unknown;
        const call = async () => method.call(self, '/no/such/folder/x');
        await expect(call()).rejects.toBeInstanceOf(Error);
      }
    }
    const impostor = Object.create(Object.getPrototypeOf(device()) as object) as api.Device;
    await expect(PixelCNN.create(impostor)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    await model.dispose();
  });

  it('objects do not travel to other worlds', () => {
    expect(() => structuredClone(device())).not.toThrow();
    expect(structuredClone(device())).not.toBeInstanceOf(Object.getPrototypeOf(device()).constructor);
  });
});
