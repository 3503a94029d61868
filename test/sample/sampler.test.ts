// Tests the wavefront sampler: it has the bits of a full forward pass, and images depend on seed and index alone.
import { describe, expect, it, vi } from 'vitest';
import { levelOfByte } from '../../src/data/levels.js';
import { openDevice } from '../../src/device/device.js';
import { frontSteps } from '../../src/program/front.js';
import { Recorder } from '../../src/program/recorder.js';
import { philox, seedKey, uniform } from '../../src/random/philox.js';
import { buildSampler } from '../../src/sample/front-sampler.js';
import type { SampleOptions } from '../../src/sample/options.js';
import { passesOf } from '../../src/sample/passes.js';
import { expectSameBits } from '../helpers/close.js';
import { drawWithLogits } from '../helpers/draw.mjs';
import { bf16Missing, imagesOf, imagesOfLevels, randomModel, testDevice } from '../helpers/models.js';
import { withSeed } from '../helpers/random.js';
import { skipAloud } from '../helpers/skip.js';
import { drawLevel } from '../oracle/network.js';

const device = testDevice();
const devices = {
  f32: device,
  ...(!skipAloud('the sampler in bf16 on the CPU', await bf16Missing()) && {
    bf16: testDevice({ precision: 'bf16' }),
  }),
};
const library = { buildSampler, passesOf, frontSteps };
const grey = { channels: 1, hiddenChannels: 12, layers: 4, levels: 8, kernelSize: 5 };
const gated = {
  architecture: 'gated',
  channels: 3,
  hiddenChannels: 10,
  layers: 3,
  levels: 4,
  firstKernelSize: 5,
} as const;
const rgb = { channels: 3, hiddenChannels: 10, layers: 4, levels: 4, kernelSize: 3 };

describe.each(Object.entries(devices))('logits of the sampler in %s', (_, device) => {
  it('are those of the direct forward pass, bit for bit, 28 networks', async () => {
    await withSeed(81, async (random, at) => {
      for (let index = 0; index < 28; index += 1) {
        const channels = random.pick([1, 1, 3]);
        const options = {
          channels,
          hiddenChannels: channels + random.int(0, 40),
          layers: random.int(2, 6),
          levels: random.pick([2, 5, 16, 256]),
          kernelSize: random.pick([1, 3, 5, 7]),
          ...(index % 2 === 1 && {
            architecture: 'gated' as const,
            firstKernelSize: random.pick([3, 5, 7]),
            headChannels: channels + random.int(0, 20),
          }),
        };
        const [count, height, width] = [random.int(1, 5), random.int(1, 11), random.int(1, 16)];
        at(`case ${index}: ${JSON.stringify({ ...options, count, height, width })}`);
        const model = await randomModel(device(), options, index, 1.5);
        const given = {
          index: Uint32Array.from({ length: count }, () => random.word()),
          random: Uint32Array.of(random.word(), random.word(), 0, 0),
          temperature: Float32Array.of(random.pick([0, 0.7, 1, 3])),
        };
        const { level, logits } = await drawWithLogits(library, model, { count, height, width }, given);
        const full = await model.logits(imagesOfLevels(model, level, count, height, width));
        expectSameBits('logits', logits, full.data);
        await model.dispose();
      }
    });
  });
});

it('a network is recorded for the first images of a size, and not again for later ones', async () => {
  const model = await randomModel(device(), grey, 1, 1.5);
  const emit = vi.spyOn(Recorder.prototype, 'emit');
  try {
    await model.sample({ count: 2, height: 5, width: 6, seed: 1 });
    expect(emit).toHaveBeenCalled();
    emit.mockClear();
    await model.sample({ count: 2, height: 5, width: 6, seed: 2 });
    expect(emit).not.toHaveBeenCalled();
    await model.sample({ count: 2, height: 5, width: 7, seed: 2 });
    expect(emit, 'of another width').toHaveBeenCalled();
  } finally {
    emit.mockRestore();
    await model.dispose();
  }
});

describe('an image depends on seed and index alone', () => {
  it.each([grey, gated])('not on count, batch or first index: %o', async (options) => {
    const model = await randomModel(device(), options, 1, 1.5);
    // More images than one batch of the sampler has.
    const size = { height: 40, width: 24, seed: 7 };
    const all = await model.sample({ ...size, count: 30 });
    for (const [firstIndex, count] of [
      [0, 1],
      [29, 1],
      [4, 3],
      [10, 20],
    ] as const) {
      const part = await model.sample({ ...size, count, firstIndex });
      expect(part.data, `${count} images from ${firstIndex}`).toEqual(imagesOf(all, firstIndex, count).data);
    }
    const distinct = new Set(
      Array.from({ length: 30 }, (_, i) => Buffer.from(imagesOf(all, i, 1).data).toString('hex')),
    );
    expect(distinct.size).toBe(30);
    await model.dispose();
  });

  it.each([grey, rgb, gated])('not on threads: %o', async (options) => {
    const drawn = [];
    for (const threads of [1, 2, 3]) {
      const own = await openDevice({ backend: 'cpu', threads });
      const model = await randomModel(own, options, 2, 1.5);
      drawn.push((await model.sample({ count: 5, height: 9, width: 13, seed: 3n })).data);
      await own.dispose();
    }
    expect(drawn[1]).toEqual(drawn[0]);
    expect(drawn[2]).toEqual(drawn[0]);
  });

  it('the same seed gives the same images, another seed others, no seed a new one that is told', async () => {
    const model = await randomModel(device(), rgb, 3, 1.5);
    const size = { count: 2, height: 7, width: 6 };
    const first = await model.sample({ ...size, seed: 2 ** 40 });
    expect(await model.sample({ ...size, seed: BigInt(2 ** 40) })).toEqual({ ...first, seed: 2n ** 40n });
    expect((await model.sample({ ...size, seed: 1 })).data).not.toEqual(first.data);
    expect((await model.sample({ ...size, seed: 2n ** 64n - 1n })).data).not.toEqual(first.data);
    const [a, b] = [await model.sample(size), await model.sample(size)];
    expect(a!.seed).not.toBe(b!.seed);
    expect(await model.sample({ ...size, seed: a!.seed })).toEqual(a);
    await model.dispose();
  });

  it('concurrent calls give what calls one after the other give', async () => {
    const model = await randomModel(device(), grey, 4, 1.5);
    const calls: SampleOptions[] = Array.from({ length: 8 }, (_, i) => {
      return {
        count: 1 + (i % 3),
        height: 8 + (i % 2),
        width: 9,
        seed: i,
        temperature: i % 4 === 3 ? 0.5 : 1,
      };
    });
    const images = await model.sample({ count: 3, height: 8, width: 9, seed: 99 });
    const sequential = [];
    for (const options of calls) sequential.push(await model.sample(options));
    const likelihood = await model.logLikelihood(images);
    const [concurrent, ...likelihoods] = await Promise.all([
      Promise.all(calls.map((options) => model.sample(options))),
      model.logLikelihood(images),
      model.logLikelihood(images),
    ]);
    expect(concurrent).toEqual(sequential);
    expect(likelihoods).toEqual([likelihood, likelihood]);
    await model.dispose();
  });
});

describe('draws', () => {
  it('follow the uniforms of Philox, key = seed, counter = (index, pixel * channels + channel)', async () => {
    for (const options of [grey, rgb]) {
      const model = await randomModel(device(), options, 5, 1.5);
      const { channels, levels } = options;
      const [seed, firstIndex] = [2n ** 63n + 5n, 1000];
      const images = await model.sample({ count: 2, height: 6, width: 5, seed, firstIndex });
      const { data } = await model.logits(images);
      const perImage = 6 * 5 * channels;
      let compared = 0;
      images.data.forEach((byte, i) => {
        const counter = [firstIndex + Math.floor(i / perImage), i % perImage, 0, 0];
        const u = uniform(philox(counter, seedKey(seed))[0]!);
        const { level, margin } = drawLevel(data, i * levels, levels, u);
        if (margin < 1e-6) return;
        compared += 1;
        expect(levelOfByte(byte, levels), `value ${i}`).toBe(level);
      });
      expect(compared).toBeGreaterThan(0.99 * images.data.length);
      await model.dispose();
    }
  });

  it('temperature 0 takes the most likely level everywhere; 1e-38 does too', async () => {
    for (const options of [grey, rgb]) {
      const model = await randomModel(device(), options, 6, 1.5);
      const { levels } = options;
      const size = { count: 3, height: 8, width: 7 };
      const greedy = await model.sample({ ...size, temperature: 0, seed: 1 });
      const { data } = await model.logits(greedy);
      const best = greedy.data.map((_, i) => drawLevel(data, i * levels, levels, 0, 0).level);
      expect(greedy.data.map((byte) => levelOfByte(byte, levels))).toEqual(best);
      expect((await model.sample({ ...size, temperature: 1e-38, seed: 2 })).data).toEqual(greedy.data);
      expect((await model.sample({ ...size, temperature: Number.MIN_VALUE, seed: 2 })).data).toEqual(
        greedy.data,
      );
      await model.dispose();
    }
  });

  it('temperature 1e6 draws every level equally often', async () => {
    const model = await randomModel(device(), grey, 7, 1.5);
    const { data } = await model.sample({ count: 40, height: 16, width: 16, temperature: 1e6, seed: 5 });
    const counts = new Array<number>(8).fill(0);
    for (const byte of data) counts[levelOfByte(byte, 8)]! += 1;
    const expected = data.length / 8;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(29.9); // 7 degrees of freedom, p = 1e-4
    await model.dispose();
  });

  it('given uniforms of 0 take the first level, of almost 1 the last', async () => {
    const model = await randomModel(device(), rgb, 8, 1);
    const size = { count: 1, height: 4, width: 4 };
    const draw = (u: number) => model.sample({ ...size, uniforms: new Float32Array(48).fill(u) });
    expect(new Set((await draw(0)).data)).toEqual(new Set([0]));
    expect(new Set((await draw(1 - 2 ** -24)).data)).toEqual(new Set([255]));
    await model.dispose();
  });

  it('a seed of its own is a number below 2^53, so that the result can be sent as JSON', async () => {
    const model = await randomModel(device(), grey, 9, 1.5);
    const size = { count: 1, height: 2, width: 2 };
    const known = new Uint8Array(4);
    const images = await model.sample({ ...size, seed: 1 });
    const seeds: (number | bigint)[] = [];
    for (let i = 0; i < 20; i += 1) {
      seeds.push((await model.sample(size)).seed, (await model.complete({ images, known })).seed);
      for await (const frame of model.sampleStream(size)) seeds.push(frame.images.seed);
    }
    for (const seed of seeds) expect(Number.isSafeInteger(seed), String(seed)).toBe(true);
    // All 53 bits are drawn: of 60 or more seeds one has the highest.
    expect(seeds.length).toBeGreaterThan(60);
    expect(Math.max(...seeds.map(Number))).toBeGreaterThan(2 ** 52);
    expect(new Set(seeds).size).toBeGreaterThan(55);
    const { seed } = await model.sample(size);
    const sent = JSON.parse(JSON.stringify(seed)) as number;
    expect(await model.sample({ ...size, seed: sent })).toEqual(await model.sample({ ...size, seed }));
    await model.dispose();
  });
});
