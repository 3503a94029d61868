// Tests completion and streaming: what is known stays, and frames only grow. abort.timed.test.ts tests aborting.
import { describe, expect, it } from 'vitest';
import { frontSteps } from '../../src/program/front.js';
import type { SampledImages, SampleFrame } from '../../src/sample/draw.js';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom, withSeed } from '../helpers/random.js';

const device = testDevice();
const grey = { channels: 1, hiddenChannels: 12, layers: 4, levels: 8, kernelSize: 5 };
const rgb = { channels: 3, hiddenChannels: 10, layers: 4, levels: 4, kernelSize: 3 };

const gated = {
  architecture: 'gated',
  channels: 3,
  hiddenChannels: 10,
  layers: 2,
  levels: 4,
  firstKernelSize: 3,
} as const;

describe.each([grey, rgb, gated])('complete, %o', (options) => {
  const { channels } = options;

  it('a sample with any of its pixels known completes to itself', async () => {
    const model = await randomModel(device(), options, 1, 1.5);
    await withSeed(4, async (random, at) => {
      const sampled = await model.sample({ count: 3, height: 7, width: 6, seed: 11, firstIndex: 4 });
      for (let index = 0; index < 12; index += 1) {
        at(`mask ${index}`);
        const share = random.uniform();
        const known = Uint8Array.from({ length: 3 * 42 }, () => (random.uniform() < share ? 1 : 0));
        const images = {
          ...sampled,
          data: sampled.data.map((byte, i) => byte * known[Math.floor(i / channels)]!),
        };
        const completed = await model.complete({ images, known, seed: 11, firstIndex: 4 });
        expect(completed.data).toEqual(sampled.data);
      }
    });
    await model.dispose();
  });

  it('known pixels keep their bytes, and what is not known counts for nothing', async () => {
    const model = await randomModel(device(), options, 2, 1.5);
    await withSeed(5, async (random) => {
      const images = randomImages(random, 2, 6, 8, channels);
      const known = Uint8Array.from({ length: 2 * 48 }, () => random.pick([0, 0, 3]));
      const completed = await model.complete({ images, known, seed: 1 });
      const isKnown = (i: number) => known[Math.floor(i / channels)] !== 0;
      images.data.forEach((byte, i) => {
        if (isKnown(i)) expect(completed.data[i], `value ${i}`).toBe(byte);
      });
      const other = { ...images, data: images.data.map((byte, i) => (isKnown(i) ? byte : 255 - byte)) };
      expect(await model.complete({ images: other, known, seed: 1 })).toEqual(completed);
      // The caller's arrays are left alone.
      expect(images.data).toEqual(randomImages(new TestRandom(random.seed), 2, 6, 8, channels).data);
    });
    await model.dispose();
  });

  it('a known pixel changes nothing before it and something after it', async () => {
    const model = await randomModel(device(), options, 3, 2);
    const random = new TestRandom(6);
    const images = randomImages(random, 1, 6, 6, channels);
    const known = Uint8Array.from({ length: 36 }, (_, i) => (i % 3 === 0 ? 1 : 0));
    const base = await model.complete({ images, known, seed: 1 });
    let after = 0;
    for (let pixel = 0; pixel < 36; pixel += 3) {
      const data = images.data.slice();
      for (let c = 0; c < channels; c += 1)
        data[pixel * channels + c] = (data[pixel * channels + c]! + 128) % 256;
      const changed = await model.complete({ images: { ...images, data }, known, seed: 1 });
      const head = pixel * channels;
      expect(changed.data.slice(0, head)).toEqual(base.data.slice(0, head));
      const tail = head + channels;
      if (Buffer.compare(changed.data.slice(tail), base.data.slice(tail)) !== 0) after += 1;
    }
    expect(after).toBeGreaterThan(3);
    await model.dispose();
  });

  it('all known returns the input, none known what sample returns', async () => {
    const model = await randomModel(device(), options, 4, 1.5);
    const images = randomImages(new TestRandom(7), 20, 30, 31, channels);
    const all = await model.complete({ images, known: new Uint8Array(20 * 930).fill(1), seed: 5 });
    expect(all.data).toEqual(images.data);
    const none = await model.complete({ images, known: new Uint8Array(20 * 930), seed: 5 });
    expect(none).toEqual(await model.sample({ count: 20, height: 30, width: 31, seed: 5 }));
    await model.dispose();
  });
});

describe('sampleStream', () => {
  it.each([
    { count: 1, stepsPerFrame: 1 },
    { count: 3, stepsPerFrame: 7 },
    { count: 20, stepsPerFrame: undefined },
  ])('grows and ends with what sample returns: %o', async ({ count, stepsPerFrame }) => {
    const model = await randomModel(device(), grey, 5, 1.5);
    const size = { count, height: 28, width: 30, seed: 3 };
    const stream = model.sampleStream({ ...size, ...(stepsPerFrame !== undefined && { stepsPerFrame }) });
    const frames: SampleFrame[] = [];
    let last: SampledImages | undefined;
    for (;;) {
      const { done, value } = await stream.next();
      if (done) {
        last = value;
        break;
      }
      frames.push(value);
    }
    const final = await model.sample(size);
    expect(last).toEqual(final);
    expect(frames.at(-1)!.images).toEqual(final);
    expect(frames.at(-1)!.step).toBe(frames.at(-1)!.steps);
    // A batch of the sampler has at most 16 * 28 * 28 pixels.
    const batches = Math.ceil(count / Math.max(1, Math.floor((16 * 28 * 28) / (28 * 30))));
    expect(frames[0]!.steps).toBe(frontSteps({ pad: 2, slope: 3 }, 28, 30) * batches);
    if (stepsPerFrame === 1) expect(frames.length).toBe(frames[0]!.steps);
    let before = new Uint8Array(final.data.length);
    let step = 0;
    for (const frame of frames) {
      const { data } = frame.images;
      expect(frame.step).toBeGreaterThan(step);
      const wrong = data.findIndex((byte, i) => {
        return (before[i] !== 0 && byte !== before[i]) || (byte !== 0 && byte !== final.data[i]);
      });
      expect(wrong, `frame at step ${frame.step}: value ${wrong} is not of the result`).toBe(-1);
      before = data.slice();
      step = frame.step;
    }
    await model.dispose();
  });

  it('a stream that is left early leaves the model as it was', async () => {
    const model = await randomModel(device(), rgb, 6, 1.5);
    const size = { count: 2, height: 9, width: 9, seed: 3 };
    const expected = await model.sample(size);
    for await (const frame of model.sampleStream({ ...size, seed: 4 })) if (frame.step > 5) break;
    expect(await model.sample(size)).toEqual(expected);
    await model.dispose();
  });

  it.each([
    { count: 1, height: 9, width: 9 },
    // Two batches: what the first drew is not written again.
    { count: 20, height: 28, width: 30 },
  ])('frames belong to who gets them: writing into one changes no other, %o', async (shape) => {
    const model = await randomModel(device(), grey, 7, 1.5);
    const size = { ...shape, seed: 3 };
    const expected = await model.sample(size);
    let last: SampledImages | undefined;
    for await (const { images } of model.sampleStream({ ...size, stepsPerFrame: 20 })) {
      last = { ...images, data: images.data.slice() };
      images.data.fill(77);
    }
    expect(last).toEqual(expected);
    await model.dispose();
  });
});
