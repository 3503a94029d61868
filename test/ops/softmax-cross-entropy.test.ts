// Tests the head against float64 loops: likelihoods in nats and all gradients, for ordinary and extreme logits.
import { describe, expect, it } from 'vitest';
import type { HeadShape } from '../../src/ops/softmax-cross-entropy.js';
import { expectClose } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';
import { type TestRandom, withSeed } from '../helpers/random.js';
import { type ConvShape, convBackward, convForward, maskOf } from '../oracle/masked-conv2d.js';
import { crossEntropy, softmax } from '../oracle/network.js';
import { recordHead } from './rows/head.js';

const device = testDevice();

interface Case {
  readonly g: HeadShape;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly bias: Float32Array;
  readonly level: Uint8Array;
}

function drawCase(random: TestRandom, g: HeadShape, gain: number): Case {
  const { n, h, w, c, channels, levels } = g;
  return {
    g,
    x: random.normals(n * h * w * c).map((value) => Math.max(value, 0)),
    weight: random.normals(channels * levels * c, gain),
    bias: random.normals(channels * levels, gain),
    level: Uint8Array.from({ length: n * h * w * channels }, () => random.int(0, levels - 1)),
  };
}

async function runHead({ g, x, weight, bias, level }: Case) {
  const { n, h, w, c, channels, levels } = g;
  const outputs = await runOps(device(), [x, weight, bias, level], (r) => {
    const given = {
      x: r.input('x', [n, h, w, c]),
      weight: r.input('weight', [channels * levels, c, 1, 1]),
      bias: r.input('bias', [channels * levels]),
      level: r.input('level', [n, h, w, channels], 'uint8'),
    };
    const alone = recordHead(r, g, given, { training: false, throughRelu: false });
    const trained = recordHead(r, g, given, { training: true, throughRelu: true });
    for (const tensor of [...Object.values(alone), ...Object.values(trained)]) r.output(tensor);
  });
  const [gradX, gradWeight, gradBias] = outputs.slice(2).map((buffer) => new Float32Array(buffer));
  return {
    nats: new Float64Array(outputs[0]!),
    natsBackward: new Float64Array(outputs[1]!),
    gradX: gradX!,
    gradWeight: gradWeight!,
    gradBias: gradBias!,
  };
}

const convOf = ({ n, h, w, c, channels, levels }: HeadShape): ConvShape => {
  return { n, h, w, c, k: channels * levels, size: 1, mask: 'B', groups: channels };
};

function reference({ g, x, weight, bias, level }: Case) {
  const logits = convForward(convOf(g), x, weight, bias);
  const nats = crossEntropy(logits, level, g.n, g.levels);
  const gradLogits = new Float64Array(logits.length);
  level.forEach((target, i) => {
    softmax(logits, i * g.levels, g.levels).forEach((p, v) => {
      gradLogits[i * g.levels + v] = (p - (v === target ? 1 : 0)) / level.length;
    });
  });
  const { gradInput, gradWeight, gradBias } = convBackward(convOf(g), x, weight, gradLogits);
  return { nats, gradX: gradInput.map((value, i) => (x[i]! > 0 ? value : 0)), gradWeight, gradBias };
}

describe('softmax cross-entropy', () => {
  it('60 random heads agree with the float64 loops', async () => {
    await withSeed(42, async (random, at) => {
      for (let index = 0; index < 60; index += 1) {
        const channels = random.pick([1, 1, 3]);
        const g = {
          n: random.int(1, 4),
          h: random.int(1, 9),
          w: random.int(1, 9),
          c: channels + random.int(0, 40),
          channels,
          levels: random.pick([2, 3, 4, 7, 8, 16, 33, 255, 256]),
        };
        at(`case ${index}: ${JSON.stringify(g)}`);
        const values = drawCase(random, g, 0.7);
        const actual = await runHead(values);
        const expected = reference(values);
        expectClose('nats', actual.nats, expected.nats, 1e-6);
        expect(actual.natsBackward, 'nats of the op with gradients').toEqual(actual.nats);
        for (const name of ['gradX', 'gradWeight', 'gradBias'] as const)
          expectClose(name, actual[name], expected[name]);
        const dead = actual.gradWeight.findIndex((value, i) => {
          return value !== 0 && maskOf(convOf(g), Math.floor(i / g.c), i % g.c, 0, 0) === 0;
        });
        expect(dead, 'gradWeight under the mask').toBe(-1);
      }
    });
  });

  it.each([50, 1e3, 1e6])('logits of size %d keep everything finite and right', async (gain) => {
    await withSeed(43, async (random) => {
      const values = drawCase(random, { n: 2, h: 3, w: 3, c: 5, channels: 1, levels: 16 }, gain);
      const actual = await runHead(values);
      const expected = reference(values);
      expectClose('nats', actual.nats, expected.nats, 1e-5);
      for (const name of ['gradX', 'gradWeight', 'gradBias'] as const)
        expectClose(name, actual[name], expected[name], 1e-4);
    });
  });

  it('a level beyond the last counts as the last', async () => {
    await withSeed(44, async (random) => {
      const values = drawCase(random, { n: 1, h: 2, w: 2, c: 3, channels: 1, levels: 5 }, 1);
      const last = await runHead({ ...values, level: Uint8Array.of(4, 4, 1, 4) });
      const beyond = await runHead({ ...values, level: Uint8Array.of(255, 5, 1, 17) });
      expect(beyond).toEqual(last);
    });
  });

  it('NaN stays in the image it is in', async () => {
    await withSeed(45, async (random) => {
      const values = drawCase(random, { n: 3, h: 4, w: 4, c: 6, channels: 1, levels: 9 }, 1);
      const clean = await runHead(values);
      const x = values.x.slice();
      x[4 * 4 * 6 + 20] = Number.NaN;
      const dirty = await runHead({ ...values, x });
      expect([...dirty.nats].map(Number.isNaN)).toEqual([false, true, false]);
      expect([dirty.nats[0], dirty.nats[2]]).toEqual([clean.nats[0], clean.nats[2]]);
    });
  });
});
