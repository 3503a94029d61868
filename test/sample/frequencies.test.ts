// Tests sampled frequencies against enumerated probabilities: every image of a tiny model, by the chi-square test.
import { describe, expect, it } from 'vitest';
import { levelOfByte } from '../../src/data/levels.js';
import { imagesOfLevels, randomModel, testDevice } from '../helpers/models.js';

const device = testDevice();

/** Σ (observed − expected)² / expected, images expected less than 10 times put together; and its 1e-4 quantile. */
function chiSquare(observed: readonly number[], expected: readonly number[]) {
  let sum = 0;
  let bins = 0;
  const rest = { observed: 0, expected: 0 };
  const add = (o: number, e: number) => {
    sum += (o - e) ** 2 / e;
    bins += 1;
  };
  expected.forEach((e, i) => {
    if (e >= 10) {
      add(observed[i]!, e);
      return;
    }
    rest.observed += observed[i]!;
    rest.expected += e;
  });
  if (rest.expected > 0) add(rest.observed, rest.expected);
  // Wilson and Hilferty's approximation, 3.719 being the normal quantile.
  const v = 2 / (9 * (bins - 1));
  return { sum, limit: (bins - 1) * (1 - v + 3.719 * Math.sqrt(v)) ** 3, bins };
}

describe('frequencies', () => {
  it.each([
    { height: 2, width: 2, options: { channels: 1, hiddenChannels: 8, layers: 3, levels: 3, kernelSize: 3 } },
    { height: 1, width: 2, options: { channels: 3, hiddenChannels: 9, layers: 3, levels: 2, kernelSize: 3 } },
    {
      height: 2,
      width: 2,
      options: { architecture: 'gated', channels: 1, hiddenChannels: 8, layers: 3, levels: 3 },
    },
  ] as const)('of all images are their probabilities: %o', async ({ height, width, options }) => {
    const { channels, levels } = options;
    const model = await randomModel(device(), options, 10, 1.5);
    const values = height * width * channels;
    const kinds = levels ** values;
    const all = Uint8Array.from({ length: kinds * values }, (_, i) => {
      return Math.floor(Math.floor(i / values) / levels ** (i % values)) % levels;
    });
    const { nats } = await model.logLikelihood(imagesOfLevels(model, all, kinds, height, width));
    const count = 60_000;
    const { data } = await model.sample({ count, height, width, seed: 2026 });
    const observed = new Array<number>(kinds).fill(0);
    for (let image = 0; image < count; image += 1) {
      let kind = 0;
      for (let i = 0; i < values; i += 1)
        kind += levelOfByte(data[image * values + i]!, levels) * levels ** i;
      observed[kind]! += 1;
    }
    const { sum, limit, bins } = chiSquare(
      observed,
      [...nats].map((value) => count * Math.exp(-value)),
    );
    console.info(`chi-square ${sum.toFixed(1)} of ${bins} bins, limit ${limit.toFixed(1)}`);
    expect(sum).toBeLessThan(limit);
    expect(bins).toBeGreaterThan(10);
    // Planted: the probabilities at another temperature do not fit.
    const tilted = [...nats].map((value) => Math.exp(-0.8 * value));
    const total = tilted.reduce((a, b) => a + b, 0);
    const wrong = chiSquare(
      observed,
      tilted.map((p) => (count * p) / total),
    );
    expect(wrong.sum).toBeGreaterThan(wrong.limit);
    await model.dispose();
  });
});
