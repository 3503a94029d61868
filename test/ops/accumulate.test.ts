// Tests that the sum of two gradients keeps NaN unless a ReLU was off, and that it reaches the ends of large tensors.
import { describe, expect, it } from 'vitest';
import { accumulate } from '../../src/ops/accumulate.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';

const device = testDevice();

describe('accumulate', () => {
  it('keeps NaN where the ReLU was on, and writes 0 where it was off', async () => {
    const a = Float32Array.of(1, Number.NaN, 3, Number.NaN, Number.POSITIVE_INFINITY);
    const b = Float32Array.of(Number.NaN, 1, 2, 1, Number.NEGATIVE_INFINITY);
    const reluOutput = Float32Array.of(1, 0, 0, 5, 1e-30);
    const [y] = await runOps(device(), [a, b, reluOutput], (r) => {
      const [first, second, relu] = ['a', 'b', 'reluOutput'].map((name) => r.input(name, [1, 1, 1, 5]));
      r.output(accumulate(r, 'accumulate', first!, second!, relu!));
    });
    expect([...new Float32Array(y!)]).toEqual([Number.NaN, 0, 0, Number.NaN, Number.NaN]);
  });

  it('adds every value of tensors that threads share out', async () => {
    const count = 2 * 2 ** 14 + 37;
    const a = Float32Array.from({ length: count }, (_, i) => i);
    const b = Float32Array.from({ length: count }, (_, i) => 2 * i);
    const [y] = await runOps(device(), [a, b], (r) => {
      const [first, second] = ['a', 'b'].map((name) => r.input(name, [1, 1, 1, count]));
      r.output(accumulate(r, 'accumulate', first!, second!, null));
    });
    const wrong = new Float32Array(y!).findIndex((value, i) => value !== 3 * i);
    expect(wrong).toBe(-1);
  });
});
