// Tests the sampler's draw: levels follow the inverse distribution at every temperature, known pixels stay, and guidance mixes two networks.
import { describe, expect, it } from 'vitest';
import { nextFront, sampleFront } from '../../src/ops/sample.js';
import { frontSteps, paddedShape } from '../../src/program/front.js';
import { expectClose, expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { fed, headFilter, packed, runOps, withBorder } from '../helpers/ops.js';
import { TestRandom, withSeed } from '../helpers/random.js';
import { convForward } from '../oracle/masked-conv2d.js';
import { drawLevel } from '../oracle/network.js';

const device = testDevice();

describe('sampleFront', () => {
  it.each([1, 0.3, 0, 1e-38, 1e6])('draws by inverse distribution at temperature %d', async (temperature) => {
    let compared = 0;
    await withSeed(72, async (random, at) => {
      for (let index = 0; index < 25; index += 1) {
        const channels = random.pick([1, 1, 3]);
        const [n, h, w, pad] = [random.int(1, 3), random.int(1, 7), random.int(1, 7), random.int(0, 3)];
        const levels = random.pick([2, 3, 8, 17, 256]);
        const c = channels + random.int(0, 20);
        const front = { pad, slope: pad + 1 };
        const g = { n, h, w, c, channels, levels };
        at(`case ${index}: ${JSON.stringify({ ...g, pad })}`);
        const x = random.normals(n * h * w * c);
        const weight = random.normals(channels * levels * c);
        const bias = random.normals(channels * levels);
        const u = Float32Array.from({ length: n * h * w * channels }, () =>
          Math.fround(random.uniform() * 0.999),
        );
        const known = Uint8Array.from({ length: n * h * w }, () => random.pick([0, 0, 1, 200]));
        const given = Uint8Array.from({ length: n * h * w * channels }, () => random.int(0, levels - 1));
        const convolution = headFilter(c, channels, levels);
        const fronts = random.pick([1, 2, random.int(1, frontSteps(front, h, w) + 1)]);
        const useKnown = index % 2 === 0;
        const inputs = [
          withBorder({ n, h, w, pad }, c, x),
          weight,
          bias,
          u,
          Float32Array.of(temperature),
          given,
        ];
        if (useKnown) inputs.push(known);
        const outputs = await runOps(
          device(),
          inputs,
          (r) => {
            const input = fed(r, 'x', paddedShape(front, n, h, w, c));
            const filter = packed(r, convolution, 'forward', fed(r, 'weight', [channels * levels, c, 1, 1]));
            const head = {
              x: input,
              packed: filter,
              bias: fed(r, 'bias', [channels * levels]),
              position: r.state('position', [1], 'int32'),
            };
            const operands = {
              uniforms: fed(r, 'u', [n, h, w, channels]),
              temperature: fed(r, 'temperature', [1]),
              guidance: null,
              level: fed(r, 'level', [n, h, w, channels], 'uint8'),
              known: useKnown ? fed(r, 'known', [n, h, w], 'uint8') : null,
              image: r.state('image', paddedShape(front, n, h, w, channels)),
              logits: r.state('logits', [n, h, w, channels, levels]),
            };
            for (let ahead = 0; ahead < fronts; ahead += 1)
              for (let channel = 0; channel < channels; channel += 1)
                sampleFront(r, 'draw', g, { pixels: 1, ...front, ahead, group: channel }, head, operands);
            nextFront(r, 'next', fronts, head.position);
            for (const tensor of [operands.level, operands.image, operands.logits]) r.output(tensor);
          },
          Math.ceil(frontSteps(front, h, w) / fronts) + 1,
        );
        const level = new Uint8Array(outputs[0]!);
        const logits = new Float32Array(outputs[2]!);
        const shape = { n, h, w, c, k: channels * levels, size: 1, mask: 'B', groups: channels } as const;
        expectClose('logits', logits, convForward(shape, x, weight, bias), 1e-5);
        level.forEach((value, i) => {
          if (useKnown && known[Math.floor(i / channels)] !== 0) {
            expect(value, `known level ${i}`).toBe(given[i]);
            return;
          }
          const { level: expected, margin } = drawLevel(logits, i * levels, levels, u[i]!, temperature);
          // Closer than float32's rounding of the sum either neighbour is right.
          if (margin < 1e-5 && temperature !== 1e-38)
            expect(Math.abs(value - expected)).toBeLessThanOrEqual(1);
          else expect(value, `level ${i} at u ${u[i]}`).toBe(expected);
          compared += margin < 1e-5 ? 0 : 1;
        });
        const image = Float32Array.from(level, (value) => value / (levels - 1));
        expectSameBits('image', new Float32Array(outputs[1]!), withBorder({ n, h, w, pad }, channels, image));
      }
    });
    expect(compared).toBeGreaterThan(500);
  });
});

/** A draw of a whole image with 3 channels of 5 levels. */
interface Draw {
  readonly guidance: number | null;
  /** The features of N images, or of 2N with guidance. */
  readonly features: Float32Array;
  readonly known?: Uint8Array;
}

describe('guidance', () => {
  const [n, h, w, c, channels, levels] = [2, 4, 5, 7, 3, 5];
  const front = { pad: 1, slope: 2 };
  const shape = { n, h, w, c, channels, levels };
  const random = new TestRandom(31);
  const [given, none] = [random.normals(n * h * w * c), random.normals(n * h * w * c)];
  const both = Float32Array.of(...given, ...none);
  const weight = random.normals(channels * levels * c);
  const bias = random.normals(channels * levels);
  const uniforms = Float32Array.from({ length: n * h * w * channels }, () => Math.fround(random.uniform()));
  const levelsBefore = Uint8Array.from(uniforms, () => random.int(0, levels - 1));

  async function draw({ guidance, features, known }: Draw) {
    const images = guidance === null ? n : 2 * n;
    const inputs = [withBorder({ n: images, h, w, pad: 1 }, c, features), weight, bias, uniforms];
    inputs.push(Float32Array.of(0.8), Float32Array.of(guidance ?? 0));
    const [level, image, logits] = await runOps(
      device(),
      [...inputs, levelsBefore, known ?? new Uint8Array(n * h * w)],
      (r) => {
        const x = fed(r, 'x', paddedShape(front, images, h, w, c));
        const filter = headFilter(c, channels, levels);
        const head = {
          x,
          packed: packed(r, filter, 'forward', fed(r, 'weight', [channels * levels, c, 1, 1])),
          bias: fed(r, 'bias', [channels * levels]),
          position: r.state('position', [1], 'int32'),
        };
        const [u, temperature] = [fed(r, 'u', [n, h, w, channels]), fed(r, 'temperature', [1])];
        const strength = fed(r, 'guidance', [1]);
        const operands = {
          uniforms: u,
          temperature,
          guidance: guidance === null ? null : strength,
          level: fed(r, 'level', [n, h, w, channels], 'uint8'),
          known: fed(r, 'known', [n, h, w], 'uint8'),
          image: r.state('image', paddedShape(front, images, h, w, channels)),
          logits: r.state('logits', [n, h, w, channels, levels]),
        };
        for (let group = 0; group < channels; group += 1)
          sampleFront(r, 'draw', shape, { pixels: 1, ...front, ahead: 0, group }, head, operands);
        nextFront(r, 'next', 1, head.position);
        for (const output of [operands.level, operands.image, operands.logits]) r.output(output);
      },
      frontSteps(front, h, w),
    );
    return {
      level: new Uint8Array(level!),
      image: new Float32Array(image!),
      logits: new Float32Array(logits!),
    };
  }

  it('0 has the bits of the images under no condition', async () => {
    const expected = await draw({ guidance: null, features: none });
    const actual = await draw({ guidance: 0, features: both });
    expectSameBits('logits', actual.logits, expected.logits);
    expect(actual.level).toEqual(expected.level);
  });

  it('1 has the bits of the images under the condition, where the difference of logits is exact', async () => {
    const expected = await draw({ guidance: null, features: given });
    const same = await draw({ guidance: 1, features: Float32Array.of(...given, ...given) });
    expectSameBits('logits', same.logits, expected.logits);
    expect(same.level).toEqual(expected.level);
    const actual = await draw({ guidance: 1, features: both });
    expectClose('logits', actual.logits, expected.logits, 1e-6);
  });

  it.each([0.5, 2, 7.5, -1])('%d moves the logits away from those under no condition', async (guidance) => {
    const [conditional, unconditional] = [
      await draw({ guidance: null, features: given }),
      await draw({ guidance: null, features: none }),
    ];
    const { level, logits } = await draw({ guidance, features: both });
    const expected = unconditional.logits.map(
      (value, i) => value + guidance * (conditional.logits[i]! - value),
    );
    expectClose('logits', logits, expected, 1e-6);
    level.forEach((value, i) => {
      const drawn = drawLevel(logits, i * levels, levels, uniforms[i]!, 0.8);
      if (drawn.margin > 1e-5) expect(value, `level ${i}`).toBe(drawn.level);
    });
  });

  it('gives both copies of an image the level, and known pixels keep theirs in both', async () => {
    const known = Uint8Array.from({ length: n * h * w }, (_, pixel) => (pixel % 3 === 0 ? 1 : 0));
    const { level, image } = await draw({ guidance: 3, features: both, known });
    const values = Float32Array.from(level, (value) => value / (levels - 1));
    const copies = Float32Array.of(...values, ...values);
    expectSameBits('image', image, withBorder({ n: 2 * n, h, w, pad: 1 }, channels, copies));
    const kept = level.filter((_, i) => known[Math.floor(i / channels)] === 1);
    expect(kept).toEqual(levelsBefore.filter((_, i) => known[Math.floor(i / channels)] === 1));
    expect(level).not.toEqual(levelsBefore);
  });
});
