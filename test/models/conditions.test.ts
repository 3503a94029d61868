// Tests models with conditions: the properties of every architecture under each kind, guidance, and which images see what.
import { describe, expect, it } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import type { Device } from '../../src/device/device.js';
import { networkOf } from '../../src/models/architectures.js';
import type { PixelCnnConfig } from '../../src/models/config.js';
import type { ImageConditions } from '../../src/models/given-condition.js';
import { parseConfig } from '../../src/models/parse-config.js';
import type { PixelCNN } from '../../src/pixelcnn.js';
import { expectSameBits } from '../helpers/close.js';
import { testGpu } from '../helpers/cuda.js';
import { randomConditions, randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { testNetwork } from '../helpers/test-network.js';

const devices = { cpu: testDevice(), gpu: testGpu() };
const architectures = {
  plain: { hiddenChannels: 7, layers: 4, kernelSize: 3 },
  // Neither 7 nor 8 channels divide into the groups of three image channels.
  gated: {
    architecture: 'gated',
    hiddenChannels: 7,
    layers: 3,
    firstKernelSize: 5,
    headChannels: 8,
  },
} as const;
const conditions = [
  { classes: 5 },
  { classes: 3, none: true },
  { features: 3 },
  { map: 2, none: true },
] as const;

describe.each(['plain', 'gated'] as const)('a %s network', (architecture) => {
  for (const channels of [1, 3]) {
    for (const condition of conditions) {
      const config = parseConfig('test', { ...architectures[architecture], channels, levels: 4, condition });
      const name = `${channels} channels, ${JSON.stringify(condition)}`;
      testNetwork({ name, config, network: networkOf(config) }, devices);
    }
  }
});

const size = { height: 5, width: 7 };

/** A model whose condition matters, and conditions for so many images. */
async function conditioned(
  device: Device,
  architecture: 'plain' | 'gated',
  condition: PixelCnnConfig['condition'],
  count: number,
  channels = 1,
): Promise<{ model: PixelCNN; given: ImageConditions; random: TestRandom }> {
  const options = { ...architectures[architecture], channels, levels: 4, ...(condition && { condition }) };
  const model = await randomModel(device, options, 9, 2);
  const random = new TestRandom(3);
  return { model, given: randomConditions(random, model.config, { count, ...size }), random };
}

/** The conditions of the images from `first` on. */
function part(given: ImageConditions, count: number, first: number, images: number): ImageConditions {
  return Object.fromEntries(
    Object.entries(given).map(([field, values]) => {
      const per = (values as Uint8Array).length / count;
      return [field, (values as Uint8Array).slice(first * per, (first + images) * per)];
    }),
  );
}

const kinds = [
  { classes: 6, none: true },
  { features: 3, none: true },
  { map: 2, none: true },
] as const;
const cases = (['plain', 'gated'] as const).flatMap((architecture) =>
  kinds.map((condition) => ({ architecture, condition, name: JSON.stringify(condition) })),
);
const none = (condition: object) =>
  'classes' in condition
    ? { labels: 'none' }
    : 'features' in condition
      ? { features: 'none' as const }
      : { map: 'none' as const };

describe.each(['cpu', 'gpu'] as const)('on the %s', (where) => {
  describe.each(cases)('$architecture, $name', ({ architecture, condition }) => {
    it('the condition of an image moves its logits and those of no other image', async () => {
      const { model, given, random } = await conditioned(devices[where](), architecture, condition, 3, 3);
      const images: ImageBatch = { ...randomImages(random, 3, size.height, size.width, 3), ...given };
      const before = (await model.logits(images)).data;
      const other = randomConditions(new TestRandom(77), model.config, { count: 3, ...size });
      const changed = Object.fromEntries(
        Object.entries(given).map(([field, values]) => {
          const copy = (values as Uint8Array).slice();
          const per = copy.length / 3;
          const now = other[field as 'labels']!.slice(per, 2 * per);
          if (field === 'labels') now[0] = (copy[1]! + 1) % 6;
          copy.set(now, per);
          return [field, copy];
        }),
      );
      const after = (await model.logits({ ...images, ...changed })).data;
      const perImage = before.length / 3;
      for (const image of [0, 2]) {
        const range = [image * perImage, (image + 1) * perImage] as const;
        expectSameBits(`image ${image}`, after.slice(...range), before.slice(...range));
      }
      // Every pixel is given the condition, from the first on. Only ReLUs may hide it.
      const [old, now] = [before, after].map((logits) => logits.slice(perImage, 2 * perImage));
      const pixels = Array.from({ length: size.height * size.width }, (_, pixel) => pixel);
      const moved = pixels.filter((pixel) => {
        return old!.subarray(pixel * 12, (pixel + 1) * 12).some((value, i) => value !== now![pixel * 12 + i]);
      });
      expect(moved).toContain(0);
      expect(moved.length).toBeGreaterThan(0.9 * pixels.length);
      await model.dispose();
    });

    it('samples do not depend on the conditions beside them', async () => {
      const { model, given } = await conditioned(devices[where](), architecture, condition, 5);
      for (const guidance of [1, 2.5]) {
        const options = { ...size, seed: 4, guidance };
        const all = await model.sample({ ...options, count: 5, ...given });
        const alone = await model.sample({ ...options, firstIndex: 3, ...part(given, 5, 3, 1) });
        const pixels = size.height * size.width;
        expect(alone.data).toEqual(all.data.slice(3 * pixels, 4 * pixels));
      }
      await model.dispose();
    });

    it('a guidance of 1 is the conditional model, 0 the one without, and more moves away from that', async () => {
      const { model, given } = await conditioned(devices[where](), architecture, condition, 6);
      const options = { ...size, count: 6, seed: 8 };
      const plain = await model.sample({ ...options, ...given });
      const one = await model.sample({ ...options, ...given, guidance: 1 });
      const zero = await model.sample({ ...options, ...given, guidance: 0 });
      const without = await model.sample({ ...options, ...none(condition) });
      expect(one.data).toEqual(plain.data);
      expect(zero.data).toEqual(without.data);
      expect((await model.sample({ ...options, guidance: 0 })).data).toEqual(without.data);
      const strong = await model.sample({ ...options, ...given, guidance: 3 });
      const images = (drawn: ImageBatch) => ({ ...drawn, ...given });
      const gain = async (drawn: ImageBatch) => {
        const own = (await model.logLikelihood(images(drawn))).nats;
        const free = (await model.logLikelihood(drawn, none(condition))).nats;
        return own.reduce((sum, nats, i) => sum + free[i]! - nats, 0);
      };
      expect(strong.data).not.toEqual(plain.data);
      expect(await gain(strong)).toBeGreaterThan(await gain(without));
      await model.dispose();
    });
  });
});

describe('guided sampling', () => {
  // With the largest level as the most likely one, the drawn image shows the logits that it was drawn from.
  it.each(cases)(
    'draws the most likely level of none + g (logits - none): $architecture, $name',
    async ({ architecture, condition }) => {
      for (const channels of [1, 3]) {
        const { model, given } = await conditioned(devices.cpu(), architecture, condition, 3, channels);
        const drawn = await model.sample({ ...size, count: 3, temperature: 0, guidance: 1.7, ...given });
        const own = (await model.logits({ ...drawn, ...given })).data;
        const free = (await model.logits(drawn, none(condition))).data;
        const { levels } = model.config;
        for (let value = 0; value < drawn.data.length; value += 1) {
          const logits = Array.from({ length: levels }, (_, level) => {
            const at = value * levels + level;
            return free[at]! + 1.7 * (own[at]! - free[at]!);
          });
          expect(Math.floor((drawn.data[value]! * levels) / 256)).toBe(logits.indexOf(Math.max(...logits)));
        }
        await model.dispose();
      }
    },
  );

  it('keeps known pixels, and draws the others given them', async () => {
    const { model, random } = await conditioned(devices.cpu(), 'gated', { classes: 6, none: true }, 4);
    const images = {
      ...randomImages(random, 4, size.height, size.width, 1),
      labels: Uint8Array.of(0, 1, 2, 3),
    };
    const known = Uint8Array.from({ length: 4 * 35 }, (_, i) => (i % 35 < 14 ? 1 : 0));
    const completed = await model.complete({ images, known, guidance: 2, seed: 5 });
    for (let i = 0; i < known.length; i += 1)
      if (known[i] === 1) expect(completed.data[i]).toBe(images.data[i]);
    expect([...completed.labels!]).toEqual([0, 1, 2, 3]);
    const others = await model.complete({ images, known, guidance: 2, seed: 5, labels: 5 });
    expect(others.data).not.toEqual(completed.data);
    await model.dispose();
  });
});
