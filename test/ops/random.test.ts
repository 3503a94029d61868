// Tests Philox on the device: it gives the words of src/random/philox.ts, and binarisation has the right
// frequencies.
import { describe, expect, it } from 'vitest';
import { binarise, randomUniform } from '../../src/ops/random.js';
import { philox, uniform } from '../../src/random/philox.js';
import { expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';
import { withSeed } from '../helpers/random.js';

const device = testDevice();

async function uniforms(index: Uint32Array, key: [number, number], values: number): Promise<Float32Array> {
  const [u] = await runOps(device(), [index, Uint32Array.of(...key, 7, 9)], (r) => {
    const operands = {
      index: r.input('index', [index.length], 'uint32'),
      random: r.input('random', [4], 'uint32'),
      u: r.tensor('u', [index.length, values]),
    };
    randomUniform(r, 'uniforms', operands);
    r.output(operands.u);
  });
  return new Float32Array(u!);
}

async function binarised(bytes: Uint8Array, index: Uint32Array, random: Uint32Array): Promise<Uint8Array> {
  const [out] = await runOps(device(), [bytes, index, random], (r) => {
    r.output(
      binarise(r, 'binarise', {
        bytes: r.input('bytes', [index.length, bytes.length / index.length], 'uint8'),
        index: r.input('index', [index.length], 'uint32'),
        random: r.input('random', [4], 'uint32'),
      }),
    );
  });
  return new Uint8Array(out!);
}

describe('randomUniform', () => {
  it('is the first word of the known answers of Random123', async () => {
    // Counter 0,0,0,0 under key 0,0 begins with 6627e8d5.
    expect((await uniforms(Uint32Array.of(0), [0, 0], 1))[0]).toBe((0x6627e8d5 >>> 8) * 2 ** -24);
  });

  it('is philox(index, position, 0, 0) for any key, index and position', async () => {
    await withSeed(1, async (random, at) => {
      for (let round = 0; round < 20; round += 1) {
        const key: [number, number] = [random.word(), random.word()];
        const index = Uint32Array.from({ length: random.int(1, 9) }, () => random.word());
        const values = random.int(1, 300);
        at(`key ${key}, ${index.length} images of ${values}`);
        const u = await uniforms(index, key, values);
        const expected = u.map((_, i) => {
          return uniform(philox([index[Math.floor(i / values)]!, i % values, 0, 0], key)[0]!);
        });
        expectSameBits('u', u, expected);
      }
    });
  });

  it('lies in [0, 1) and is spread evenly', async () => {
    const u = await uniforms(Uint32Array.of(3, 4, 5, 6), [1, 2], 50_000);
    const bins = new Array<number>(20).fill(0);
    expect(u.every((value) => value >= 0 && value < 1)).toBe(true);
    for (const value of u) bins[Math.floor(value * 20)]! += 1;
    const chiSquare = bins.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquare).toBeLessThan(50.8); // 19 degrees of freedom, p = 1e-4
  });
});

describe('binarise', () => {
  it('is 255 where the uniform of (index, pixel, epoch, 1) is below byte / 255', async () => {
    await withSeed(2, async (random) => {
      const bytes = random.bytes(5 * 97);
      const index = Uint32Array.from({ length: 5 }, () => random.word());
      const words = Uint32Array.of(random.word(), random.word(), 12, 0);
      const out = await binarised(bytes, index, words);
      out.forEach((value, i) => {
        const counter = [index[Math.floor(i / 97)]!, i % 97, 12, 1];
        const u = uniform(philox(counter, words)[0]!);
        expect(value).toBe(u < Math.fround(bytes[i]! / 255) ? 255 : 0);
      });
    });
  });

  it('keeps 0 and 255, and has the frequency of the byte', async () => {
    const pixels = 40_000;
    const values = [0, 1, 64, 128, 200, 254, 255];
    const bytes = new Uint8Array(values.length * pixels);
    values.forEach((value, i) => {
      bytes.fill(value, i * pixels, (i + 1) * pixels);
    });
    const index = Uint32Array.from(values, (_, i) => i);
    const out = await binarised(bytes, index, Uint32Array.of(5, 6, 0, 0));
    expect([...new Set(out)].sort((a, b) => a - b)).toEqual([0, 255]);
    values.forEach((value, i) => {
      const ones = out.subarray(i * pixels, (i + 1) * pixels).reduce((sum, bit) => sum + bit / 255, 0);
      const p = value / 255;
      // Five standard deviations; none at all for 0 and 255.
      expect(Math.abs(ones - p * pixels)).toBeLessThanOrEqual(5 * Math.sqrt(p * (1 - p) * pixels));
    });
  });

  it('is redrawn for every epoch and the same within one', async () => {
    const bytes = new Uint8Array(4000).fill(128);
    const draw = (epoch: number, image = 0, key = 5) =>
      binarised(bytes, Uint32Array.of(image), Uint32Array.of(key, 6, epoch, 0));
    const first = await draw(0);
    expect(await draw(0)).toEqual(first);
    for (const other of [await draw(1), await draw(0, 1), await draw(0, 0, 4)]) {
      const same = other.filter((bit, i) => bit === first[i]).length;
      expect(Math.abs(same - 2000)).toBeLessThan(200);
    }
  });
});
