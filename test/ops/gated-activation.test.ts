// Tests that the gate keeps NaN, saturates without overflow, is exact near 0, reaches the ends of tensors, and adds conditions.
import { describe, expect, it } from 'vitest';
import { gatedActivation, gatedActivationBackward } from '../../src/ops/gated-activation.js';
import { Recorder } from '../../src/program/recorder.js';
import { elements } from '../../src/program/tensor.js';
import { expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';
import { TestRandom } from '../helpers/random.js';
import { plusCondition } from '../oracle/condition.js';

const device = testDevice();

/** The gate of pairs (a, b), and the gradients of both halves for a gradient of 1. */
async function gateOf(pairs: readonly (readonly [number, number])[]) {
  const c = pairs.length;
  const [y, gradX] = await runOps(
    device(),
    [Float32Array.from(pairs.flat()), new Float32Array(c).fill(1)],
    (r) => {
      const x = r.input('x', [1, 1, 1, 2 * c]);
      const gradY = r.input('gradY', [1, 1, 1, c]);
      r.output(gatedActivation(r, 'gate', x, 1));
      r.output(gatedActivationBackward(r, 'gradient', { x, condition: null, gradY }));
    },
  );
  return { y: new Float32Array(y!), gradX: new Float32Array(gradX!) };
}

describe('the gate', () => {
  it('keeps NaN of either half, forward and backward', async () => {
    const { y, gradX } = await gateOf([
      [Number.NaN, 1],
      [1, Number.NaN],
      [0.5, 0.5],
    ]);
    expect([...y].map(Number.isNaN)).toEqual([true, true, false]);
    expect([...gradX].map(Number.isNaN)).toEqual([true, true, true, true, false, false]);
  });

  it('saturates without overflow', async () => {
    const far = [1e30, Number.POSITIVE_INFINITY];
    for (const a of far) {
      const { y, gradX } = await gateOf([
        [a, a],
        [-a, a],
        [a, -a],
        [-a, -a],
      ]);
      expect([...y].map(Math.abs)).toEqual([1, 1, 0, 0]);
      expect(y[1]).toBe(-1);
      expect([...gradX].every((value) => value === 0)).toBe(true);
    }
  });

  it('is exact near 0, where the difference of two exponentials would lose bits', async () => {
    const values = [1e-3, 1e-5, 1e-7, 1e-20, -3e-6];
    const { y, gradX } = await gateOf(values.map((a) => [a, 0] as const));
    for (const [i, a] of values.entries()) {
      expect(Math.abs(y[i]! / (Math.tanh(a) / 2) - 1), `y of ${a}`).toBeLessThan(3e-7);
      expect(Math.abs(gradX[2 * i + 1]! / (Math.tanh(a) / 4) - 1), `gradient at ${a}`).toBeLessThan(3e-7);
    }
  });

  it('has small slopes where tanh is almost 1', async () => {
    const { gradX } = await gateOf([[9, 40]]);
    expect(Math.abs(gradX[0]! * Math.cosh(9) ** 2 - 1)).toBeLessThan(1e-5);
    expect(gradX[1]).toBeCloseTo(Math.exp(-40), 20);
  });

  it('computes every value of tensors that threads share out', async () => {
    const pairs = Array.from(
      { length: 2 * 2 ** 12 + 37 },
      (_, i) => [i % 7 === 0 ? 0 : 20, 30 - (i % 3) * 60] as const,
    );
    const { y } = await gateOf(pairs);
    const wrong = y.findIndex((value, i) => Math.abs(value - (i % 7 !== 0 && i % 3 === 0 ? 1 : 0)) > 1e-6);
    expect(wrong).toBe(-1);
  });
});

describe('the gate of a sum with a condition', () => {
  it.each([5, 32, 1200])('has the bits of the gate of the sum, %i gates', async (c) => {
    const random = new TestRandom(11);
    const [n, h, w] = [3, 9, 7];
    // Multiples of 1/1024 below 16, whose sums are exact.
    const draw = (length: number) =>
      Float32Array.from({ length }, () => Math.round(random.uniform() * 8192 - 4096) / 1024);
    const x = draw(n * h * w * 2 * c);
    const gradY = random.normals(n * h * w * c);
    const run = async (added: Float32Array | null, values: Float32Array, shape: readonly number[]) => {
      const inputs = added === null ? [values, gradY] : [values, gradY, added];
      const outputs = await runOps(device(), inputs, (r) => {
        const [before, gradient] = [r.input('x', [n, h, w, 2 * c]), r.input('gradY', [n, h, w, c])];
        const condition = added === null ? null : r.input('condition', shape);
        r.output(gatedActivation(r, 'gate', before, 1, condition));
        r.output(gatedActivationBackward(r, 'gradient', { x: before, condition, gradY: gradient }));
      });
      return outputs.map((output) => new Float32Array(output));
    };
    for (const shape of [
      [n, 1, 1, 2 * c],
      [n, h, w, 2 * c],
    ]) {
      const condition = draw(elements(shape));
      const expected = await run(null, Float32Array.from(plusCondition(x, condition, n)), []);
      const actual = await run(condition, x, shape);
      for (const [i, name] of ['y', 'gradient'].entries())
        expectSameBits(`${name} given ${shape.join('x')}`, actual[i]!, expected[i]!);
    }
  });

  it('refuses a condition of another shape, or one that has seen the image', () => {
    const r = new Recorder(device());
    const x = r.input('x', [2, 3, 4, 6]);
    expect(() => gatedActivation(r, 'gate', x, 1, r.input('condition', [2, 1, 1, 3]))).toThrow(
      'gate: the condition must be 2x1x1x6 or 2x3x4x6, got 2x1x1x3',
    );
    const seen = r.input('seen', [2, 3, 4, 6]);
    r.sights.set(seen, 'present');
    expect(() => gatedActivation(r, 'gate', x, 1, seen)).toThrow(
      'gate: the condition has seen pixels (present)',
    );
  });
});

it('an odd number of channels has no pairs', async () => {
  await expect(
    runOps(device(), [new Float32Array(3)], (r) => {
      r.output(gatedActivation(r, 'gate', r.input('x', [1, 1, 1, 3]), 1));
    }),
  ).rejects.toMatchObject({
    code: 'ERR_SHAPE',
    message: expect.stringMatching(/even number of channels, got/),
  });
});
