// Tests how the sum of two gradients treats NaN: a ReLU that was off hides it, and nothing else does.
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
});
