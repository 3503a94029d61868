// Tests the float64 loops themselves: their gradients are those of finite differences, their masks those of the
// paper.
import { describe, expect, it } from 'vitest';
import { TestRandom, withSeed } from '../helpers/random.js';
import {
  type ConvSizes,
  convBackward,
  convForward,
  fourPoint,
  maskOf,
  type SquareShape,
} from './masked-conv2d.js';

type Conv = ConvSizes & SquareShape;

function grid(shape: Conv, o: number, c: number): string {
  const rows = Array.from({ length: shape.size }, (_, r) =>
    Array.from({ length: shape.size }, (_, s) => maskOf(shape, o, c, r, s)).join(''),
  );
  return rows.join(' ');
}

describe('mask', () => {
  const base = { n: 1, h: 1, w: 1, c: 3, k: 6, size: 3, groups: 3 } as const;
  it('is that of the paper for one channel', () => {
    const one = { ...base, groups: 1 };
    expect(grid({ ...one, mask: 'A' }, 0, 0)).toBe('111 100 000');
    expect(grid({ ...one, mask: 'B' }, 0, 0)).toBe('111 110 000');
    expect(grid({ ...one, mask: 'B', size: 1 }, 0, 0)).toBe('1');
    expect(grid({ ...one, mask: 'A', size: 1 }, 0, 0)).toBe('0');
  });

  it('orders channel groups at the centre', () => {
    const centre = (mask: 'A' | 'B') =>
      Array.from({ length: 6 }, (_, o) =>
        Array.from({ length: 3 }, (_, c) => maskOf({ ...base, mask }, o, c, 1, 1)).join(''),
      );
    expect(centre('A')).toEqual(['000', '000', '100', '100', '110', '110']);
    expect(centre('B')).toEqual(['100', '100', '110', '110', '111', '111']);
  });

  it('splits channels as floor(c * groups / channels) does', () => {
    for (const channels of [3, 7, 10, 13]) {
      const shape: Conv = { ...base, c: channels, k: channels, size: 1, mask: 'B' };
      for (let o = 0; o < channels; o += 1)
        for (let c = 0; c < channels; c += 1) {
          const live = Math.floor((c * 3) / channels) <= Math.floor((o * 3) / channels);
          expect(maskOf(shape, o, c, 0, 0), `${channels} channels, ${c} to ${o}`).toBe(live ? 1 : 0);
        }
    }
  });
});

describe('gradients', () => {
  const shapes: Conv[] = [
    { n: 2, h: 4, w: 3, c: 2, k: 3, size: 3, mask: 'A', groups: 1 },
    { n: 1, h: 3, w: 5, c: 3, k: 4, size: 5, mask: 'B', groups: 3 },
    { n: 1, h: 4, w: 4, c: 4, k: 3, size: 3, mask: 'A', groups: 3 },
    { n: 2, h: 2, w: 2, c: 2, k: 2, size: 1, mask: 'B', groups: 2 },
    { n: 1, h: 1, w: 6, c: 1, k: 2, size: 7, mask: 'B', groups: 1 },
  ];
  it.each(shapes)('pass four-point differences in every coordinate: %o', async (shape) => {
    await withSeed(7, (random) => {
      const draw = (length: number) => Float64Array.from({ length }, () => random.normal());
      const x = draw(shape.n * shape.h * shape.w * shape.c);
      const weight = draw(shape.k * shape.c * shape.size ** 2);
      const bias = draw(shape.k);
      const gradY = draw(shape.n * shape.h * shape.w * shape.k);
      const loss = () =>
        convForward(shape, x, weight, bias).reduce((sum, value, i) => sum + value * gradY[i]!, 0);
      const { gradInput, gradWeight, gradBias } = convBackward(shape, x, weight, gradY);
      const check = (name: string, at: Float64Array, gradient: Float64Array) => {
        const norm = Math.hypot(...gradient);
        gradient.forEach((expected, i) => {
          const measured = fourPoint(at, i, 1e-2, loss);
          const error = Math.abs(measured - expected) / Math.max(Math.abs(expected), 1e-3 * norm);
          expect(error, `${name}[${i}]: ${expected}, differences give ${measured}`).toBeLessThanOrEqual(1e-6);
        });
      };
      check('input', x, gradInput);
      check('weight', weight, gradWeight);
      check('bias', bias, gradBias);
    });
  });

  it('a wrong gradient does not pass', () => {
    const random = new TestRandom(1);
    const at = Float64Array.from({ length: 3 }, () => random.normal());
    const measured = fourPoint(at, 1, 1e-2, () => at[0]! * at[1]! ** 3);
    expect(Math.abs(measured / (3 * at[0]! * at[1]! ** 2) - 1)).toBeLessThan(1e-9);
    expect(Math.abs(measured / (3.0001 * at[0]! * at[1]! ** 2) - 1)).toBeGreaterThan(1e-6);
  });
});
