// Tests which conditions can be added to activations, and that each image gets its own.
import { describe, expect, it } from 'vitest';
import { addCondition } from '../../src/ops/add-condition.js';
import { recordGradients } from '../../src/ops/gradients.js';
import { Recorder } from '../../src/program/recorder.js';
import type { Tensor } from '../../src/program/tensor.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';

const device = testDevice();

/** Records the sum of x (2, 3, 4, 5) and a condition of this shape. */
function record(shape: readonly number[], sees?: 'past'): Tensor {
  const r = new Recorder(device());
  const [x, condition] = [r.input('x', [2, 3, 4, 5]), r.input('condition', shape)];
  if (sees !== undefined) r.sights.set(condition, sees);
  return addCondition(r, 'net.3', x, condition, 1);
}

describe('addCondition', () => {
  it('takes a row for each image or for each pixel', () => {
    for (const shape of [
      [2, 1, 1, 5],
      [2, 3, 4, 5],
    ])
      expect(record(shape).shape).toEqual([2, 3, 4, 5]);
  });

  it.each([[[1, 1, 1, 5]], [[2, 1, 1, 4]], [[2, 4, 3, 5]], [[2, 3, 1, 5]]])('refuses %j', (shape) => {
    const expected = `net.3: the condition must be 2x1x1x5 or 2x3x4x5, got ${shape.join('x')}`;
    expect(() => record(shape)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE', message: expected }));
  });

  it('refuses a condition that has seen the image', () => {
    expect(() => record([2, 1, 1, 5], 'past')).toThrow(
      expect.objectContaining({
        code: 'ERR_CAUSALITY',
        message: 'net.3: the condition has seen pixels (past)',
      }),
    );
  });

  it('keeps NaN through the ReLU, of the sum only', async () => {
    const x = Float32Array.of(1, Number.NaN, -3, 4, Number.NEGATIVE_INFINITY);
    const condition = Float32Array.of(-2, 1, 5, Number.NaN, Number.POSITIVE_INFINITY);
    const [y] = await runOps(device(), [x, condition], (r) => {
      const [a, b] = ['x', 'condition'].map((name) => r.input(name, [1, 1, 1, 5]));
      r.output(addCondition(r, 'sum', a!, b!, 1, { relu: true }));
    });
    expect([...new Float32Array(y!)]).toEqual([0, Number.NaN, 2, Number.NaN, Number.NaN]);
  });

  it.each([1, 3, 16, 31, 700, 2049])('adds its row to every pixel of an image, %i channels', async (c) => {
    const [n, h, w] = [3, 40, 20];
    const x = Float32Array.from({ length: n * h * w * c }, (_, i) => i % 1000);
    const condition = Float32Array.from({ length: n * c }, (_, i) => 1000 * (i + 1));
    const [y] = await runOps(device(), [x, condition], (r) => {
      const operands = [r.input('x', [n, h, w, c]), r.input('condition', [n, 1, 1, c])] as const;
      r.output(addCondition(r, 'sum', ...operands, 1));
    });
    const wrong = new Float32Array(y!).findIndex((value, i) => {
      return value !== x[i]! + condition[Math.floor(i / (h * w * c)) * c + (i % c)]!;
    });
    expect(wrong).toBe(-1);
  });
});

describe('the gradient of a condition', () => {
  it('is summed over the pixels of an image, and is that of the sum for a row of each pixel', () => {
    const opsOf = (shape: readonly number[]) => {
      const r = new Recorder(device());
      const x = r.input('x', [2, 3, 4, 5]);
      const condition = r.requireGradient(r.input('condition', shape));
      // Only results of ops get gradients.
      const copy = addCondition(r, 'copy', condition, condition, 1);
      const y = addCondition(r, 'sum', x, copy, 1);
      r.emit({
        op: 'loss',
        label: 'loss',
        fields: { y },
        backward: (gradients) => gradients.add(y, () => r.activation('gradient of y', y.shape)),
      });
      const before = r.ops.length;
      recordGradients(r);
      return r.ops.slice(before).map(({ label }) => label);
    };
    expect(opsOf([2, 1, 1, 5])).toEqual(['sum condition gradient']);
    expect(opsOf([2, 3, 4, 5])).toEqual([]);
  });
});
