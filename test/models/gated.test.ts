// Tests the gated network: the properties of every architecture, no blind spot, and that it is a distribution.
import { describe, expect, it } from 'vitest';
import { bytesOfLevels } from '../../src/data/levels.js';
import type { GatedConfig } from '../../src/models/config.js';
import { GatedNetwork } from '../../src/models/gated.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { findLeaks, valuesOf, withEachChanged } from '../helpers/causality.js';
import { testGpu } from '../helpers/cuda.js';
import { randomModel, testDevice } from '../helpers/models.js';
import { TestRandom, withSeed } from '../helpers/random.js';
import { checkCausality, checkGradients, checkSampler, testNetwork } from '../helpers/test-network.js';

const devices = { cpu: testDevice(), gpu: testGpu() };

const configOf = (options: object) =>
  parseConfig('test', { architecture: 'gated', ...options }) as GatedConfig;
// Neither 7 nor 8 hidden channels divide into the groups of three image channels.
const rgb = configOf({
  channels: 3,
  hiddenChannels: 7,
  layers: 3,
  levels: 4,
  firstKernelSize: 5,
  headChannels: 8,
});
const binary = configOf({ hiddenChannels: 6, layers: 2, levels: 2, kernelSize: 5 });
testNetwork({ name: 'gated, RGB', config: rgb, network: new GatedNetwork(rgb) }, devices);
testNetwork({ name: 'gated, binary', config: binary, network: new GatedNetwork(binary) }, devices);

it('12 networks of random sizes have the gradients of finite differences and sample with the bits of the full pass', {
  timeout: 240_000,
}, async () => {
  await withSeed(15, async (random, at) => {
    for (let index = 0; index < 12; index += 1) {
      const channels = random.pick([1, 2, 3]);
      const config = configOf({
        channels,
        hiddenChannels: channels + random.int(1, 9),
        layers: random.int(2, 4),
        levels: random.pick([2, 3, 7]),
        kernelSize: random.pick([1, 3, 5]),
        firstKernelSize: random.pick([3, 5, 7]),
        headChannels: channels + random.int(1, 9),
      });
      at(JSON.stringify(config));
      const tested = { name: 'gated', config, network: new GatedNetwork(config) };
      await checkGradients(devices.cpu(), tested, 1e-4);
      await checkCausality(devices.cpu(), tested);
      await checkSampler(devices.cpu(), tested, { height: random.int(1, 6), width: random.int(4, 40) });
    }
  });
});

describe('sampling with rows side by side', () => {
  it.each([
    [rgb, 15],
    [rgb, 16],
    [binary, 18],
    [binary, 40],
  ])('has the bits of the full pass: %o, width %i', async (config, width) => {
    const tested = { name: 'gated', config, network: new GatedNetwork(config) };
    for (const height of [1, 2, 7]) await checkSampler(devices.cpu(), tested, { height, width });
    await checkSampler(devices.gpu(), tested, { height: 3, width });
  });
});

/** For each value of an image, the later values whose logits never move when it changes, in any of several models. */
async function blindTo(
  options: Parameters<typeof randomModel>[1],
  order: { h: number; w: number; channels: number },
) {
  const values = valuesOf(order);
  const unseen = Array.from(
    { length: values },
    (_, p) => new Set(Array.from({ length: values - 1 - p }, (_, i) => p + 1 + i)),
  );
  for (let seed = 1; seed <= 5; seed += 1) {
    const model = await randomModel(devices.cpu(), options, seed, 3);
    const image = new TestRandom(seed).bytes(values);
    const data = withEachChanged(image, (byte) => (byte + 128) % 256);
    const images = { data, count: 1 + values, height: order.h, width: order.w, channels: order.channels };
    const { leaks, dependents } = findLeaks(order, (await model.logits(images)).data, model.config.levels);
    expect(leaks).toEqual([]);
    for (const [p, seen] of dependents.entries()) for (const q of seen) unseen[p]!.delete(q);
    model.dispose();
  }
  return unseen;
}

describe.each([1, 3])('the blind spot, %i channels', (channels) => {
  const order = { h: 6, w: 6, channels };
  const sizes = { channels, hiddenChannels: 12, levels: 4, kernelSize: 3 };

  it('the gated network has none: every earlier value moves every later logit', async () => {
    const unseen = await blindTo({ ...sizes, architecture: 'gated', layers: 6, firstKernelSize: 3 }, order);
    expect(unseen.flatMap((set, p) => [...set].map((q) => [p, q]))).toEqual([]);
  });

  it('the plain network has one: what lies more than a column to the right for every row above', async () => {
    const unseen = await blindTo({ ...sizes, layers: 7 }, order);
    const place = (value: number) => {
      const pixel = Math.floor(value / channels);
      return { row: Math.floor(pixel / order.w), column: pixel % order.w };
    };
    for (const [p, set] of unseen.entries()) {
      const from = place(p);
      const blind = Array.from({ length: valuesOf(order) - 1 - p }, (_, i) => p + 1 + i).filter((q) => {
        const at = place(q);
        return from.column - at.column > at.row - from.row;
      });
      expect([...set], `value ${p}`).toEqual(blind);
    }
    expect(unseen.some((set) => set.size > 0)).toBe(true);
  });
});

it.each([1, 3])(
  'probabilities of all images of 2x2 pixels with 3 levels sum to 1, %i channels',
  async (channels) => {
    const options = { architecture: 'gated', channels, hiddenChannels: 5, layers: 2, levels: 3 } as const;
    const model = await randomModel(devices.cpu(), options, 4, 2);
    const values = 4 * channels;
    const byteOf = bytesOfLevels(3);
    const all = 3 ** values;
    const perCall = 3 ** Math.min(values, 9);
    let total = 0;
    for (let first = 0; first < all; first += perCall) {
      const data = Uint8Array.from({ length: perCall * values }, (_, i) => {
        const image = first + Math.floor(i / values);
        return byteOf[Math.floor(image / 3 ** (i % values)) % 3]!;
      });
      const { nats } = await model.logLikelihood({ data, count: perCall, height: 2, width: 2, channels });
      for (const value of nats) total += Math.exp(-value);
    }
    expect(Math.abs(total - 1)).toBeLessThan(1e-6);
    model.dispose();
  },
);
