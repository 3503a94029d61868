// The wavefront's ops on their own: the same bits as the full convolution, and draws by the inverse distribution.
import { describe, expect, it } from 'vitest';
import { forward, type MaskedConv2dGeometry, maskedConv2dForward } from '../../src/ops/masked-conv2d.js';
import {
  frontSteps,
  maskedConv2dFront,
  nextFront,
  paddedShape,
  sampleFront,
  zero,
} from '../../src/ops/sample.js';
import type { Recorder } from '../../src/program/recorder.js';
import type { DType, Tensor } from '../../src/program/tensor.js';
import { expectClose, expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { headConvolution, packed, runOps } from '../helpers/ops.js';
import { withSeed } from '../helpers/random.js';
import { convForward } from '../oracle/masked-conv2d.js';
import { drawLevel } from '../oracle/network.js';

const device = testDevice();

interface Size {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly pad: number;
}

/** An input that keeps its memory: the wavefront runs its ops many times on inputs that are written once. */
function fed(r: Recorder, name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
  const tensor = r.state(name, shape, dtype);
  r.feed(tensor);
  return tensor;
}

/** `values` (n, h, w, channels) inside the sampler's zero border. */
function withBorder({ n, h, w, pad }: Size, channels: number, values: Float32Array): Float32Array {
  const width = w + 2 * pad;
  const result = new Float32Array(n * (pad + h) * width * channels);
  for (let b = 0; b < n; b += 1)
    for (let i = 0; i < h; i += 1) {
      const from = (b * h + i) * w * channels;
      const to = ((b * (pad + h) + pad + i) * width + pad) * channels;
      result.set(values.subarray(from, from + w * channels), to);
    }
  return result;
}

describe('maskedConv2dFront', () => {
  it('has the bits of the direct convolution and leaves the border alone, 60 random shapes', async () => {
    await withSeed(71, async (random, at) => {
      for (let index = 0; index < 60; index += 1) {
        const kernelSize = random.pick([1, 3, 5, 7]);
        const groups = random.pick([1, 1, 3]);
        const pad = (kernelSize - 1) / 2 + random.int(0, 2);
        const front = { pad, slope: pad + 1 };
        const g: MaskedConv2dGeometry = {
          n: random.int(1, 4),
          h: random.int(1, 9),
          w: random.int(1, 9),
          c: groups + random.int(0, 33),
          k: groups + random.int(0, 33),
          kernelSize,
          maskType: random.pick(['A', 'B']),
          groups,
          algorithm: 'direct',
        };
        at(`case ${index}: ${JSON.stringify({ ...g, pad })}`);
        const size = { ...g, pad };
        const x = random.normals(g.n * g.h * g.w * g.c);
        const inputs = [
          x,
          withBorder(size, g.c, x),
          random.normals(g.k * g.c * kernelSize ** 2),
          random.normals(g.k),
        ];
        const steps = frontSteps(front, g.h, g.w);
        const fronts = random.pick([1, 2, random.int(1, steps + 1)]);
        const outputs = await runOps(
          device(),
          inputs,
          (r) => {
            const plain = fed(r, 'x', [g.n, g.h, g.w, g.c]);
            const bordered = fed(r, 'bordered', paddedShape(front, g.n, g.h, g.w, g.c));
            const weight = fed(r, 'weight', [g.k, g.c, kernelSize, kernelSize]);
            const bias = fed(r, 'bias', [g.k]);
            const step = r.state('step', [1], 'int32');
            const y = r.state('y', paddedShape(front, g.n, g.h, g.w, g.k));
            const filter = packed(r, g, forward, weight);
            const operands = { x: bordered, packed: filter, bias, step, y };
            for (let ahead = 0; ahead < fronts; ahead += 1)
              for (let group = 0; group < groups; group += 1)
                maskedConv2dFront(r, `front ${group}`, g, front, group, ahead, operands);
            nextFront(r, 'next', fronts, step);
            r.output(y);
            r.output(step);
            const full = { x: plain, packed: filter, bias, relu: true };
            r.output(maskedConv2dForward(r, 'full', g, full));
          },
          // Further steps are beyond the image and do nothing.
          Math.ceil(steps / fronts) + random.int(0, 3),
        );
        const [y, , full] = outputs.map((buffer) => new Float32Array(buffer));
        expectSameBits('y', y!, withBorder(size, g.k, full!));
        expect(new Int32Array(outputs[1]!)[0]).toBeGreaterThanOrEqual(steps);
      }
    });
  });
});

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
        const geometry = headConvolution(n, h, w, c, channels, levels);
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
            const filter = packed(r, geometry, forward, fed(r, 'weight', [channels * levels, c, 1, 1]));
            const operands = {
              x: input,
              packed: filter,
              bias: fed(r, 'bias', [channels * levels]),
              uniforms: fed(r, 'u', [n, h, w, channels]),
              temperature: fed(r, 'temperature', [1]),
              step: r.state('step', [1], 'int32'),
              level: fed(r, 'level', [n, h, w, channels], 'uint8'),
              known: useKnown ? fed(r, 'known', [n, h, w], 'uint8') : null,
              image: r.state('image', paddedShape(front, n, h, w, channels)),
              logits: r.state('logits', [n, h, w, channels, levels]),
            };
            for (let ahead = 0; ahead < fronts; ahead += 1)
              for (let channel = 0; channel < channels; channel += 1)
                sampleFront(r, 'draw', g, front, channel, ahead, operands);
            nextFront(r, 'next', fronts, operands.step);
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

describe('zero', () => {
  it('clears what was there', async () => {
    const values = new Float32Array(200_003).fill(Number.NaN);
    const [y] = await runOps(device(), [values], (r) => {
      const tensor = fed(r, 'y', [values.length]);
      zero(r, 'zero', tensor);
      r.output(tensor);
    });
    expectSameBits('y', new Float32Array(y!), new Float32Array(values.length));
  });
});
