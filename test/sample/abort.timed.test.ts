// Tests that an AbortSignal ends sampling, completion and streams soon, and leaves the model as it was.
import { describe, expect, it } from 'vitest';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { expectWithin } from '../helpers/time-limit.js';

const device = testDevice();
const grey = { channels: 1, hiddenChannels: 12, layers: 4, levels: 8, kernelSize: 5 };

describe('AbortSignal', () => {
  const large = { count: 16, height: 64, width: 64, seed: 1 };

  it('already aborted: nothing is done', async () => {
    const model = await randomModel(device(), grey, 8);
    const reason = { not: 'even an Error' };
    const signal = AbortSignal.abort(reason);
    const images = randomImages(new TestRandom(1), 1, 5, 5, 1);
    const calls: [string, () => Promise<unknown>][] = [
      ['sample', () => model.sample({ ...large, signal })],
      ['complete', () => model.complete({ images, known: new Uint8Array(25), signal })],
      ['sampleStream', async () => model.sampleStream({ ...large, signal }).next()],
    ];
    for (const [name, call] of calls)
      await expectWithin(50, `${name} after the abort`, (stopwatch) =>
        stopwatch(() => expect(call()).rejects.toBe(reason)),
      );
    await model.dispose();
  });

  it('aborted mid-way: ends within 100 ms with the reason, and the model goes on', async () => {
    const config = { hiddenChannels: 64, layers: 7, levels: 256, kernelSize: 7 };
    const model = await randomModel(device(), config, 9);
    const expected = await model.sample({ count: 1, height: 6, width: 6, seed: 2 });
    const images = randomImages(new TestRandom(1), 16, 64, 64, 1);
    const kinds: [string, (signal: AbortSignal) => Promise<unknown>][] = [
      ['sample', (signal) => model.sample({ ...large, signal })],
      ['complete', (signal) => model.complete({ images, known: new Uint8Array(16 * 4096), signal })],
      [
        'sampleStream',
        async (signal) => {
          for await (const frame of model.sampleStream({ ...large, signal }))
            expect(frame.step).toBeGreaterThan(0);
        },
      ],
    ];
    for (const [name, call] of kinds) {
      await expectWithin(100, `${name} ended after the abort`, async (stopwatch) => {
        const controller = new AbortController();
        const reason = new Error(`enough of ${name}`);
        const work = call(controller.signal);
        await new Promise((resolve) => setTimeout(resolve, 120));
        await stopwatch(() => {
          controller.abort(reason);
          return expect(work).rejects.toBe(reason);
        });
      });
    }
    expect(await model.sample({ count: 1, height: 6, width: 6, seed: 2 })).toEqual(expected);
    await model.dispose();
  });

  it('aborted after the end: nothing happens', async () => {
    const model = await randomModel(device(), grey, 10);
    const controller = new AbortController();
    const size = { count: 1, height: 5, width: 5, seed: 1 };
    const images = await model.sample({ ...size, signal: controller.signal });
    controller.abort();
    expect(await model.sample(size)).toEqual(images);
    await model.dispose();
  });
});
