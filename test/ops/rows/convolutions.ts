// Draws random masked convolutions: windows, shapes, and weights with NaN under the mask.
import type { NamedFilter } from '../../../src/ops/masked-conv2d.js';
import { rowSoFarWindow, rowsAboveWindow, squareWindow, type Window } from '../../../src/ops/window.js';
import { elements } from '../../../src/program/tensor.js';
import type { TestTensor } from '../../helpers/op-row.js';
import type { TestRandom } from '../../helpers/random.js';
import { type ConvShape, maskOf, type WindowShape } from '../../oracle/masked-conv2d.js';

/** Images and a filter of any window. */
export type Shape = Omit<ConvShape, 'size' | 'mask'> & WindowShape;

/** Draws a window: a masked square, one of either stack, or any other. */
function randomWindow(random: TestRandom): Window {
  const mask = random.pick(['A', 'B'] as const);
  switch (random.int(0, 3)) {
    case 0:
      return squareWindow(random.pick([1, 3, 3, 5, 7]), mask);
    case 1:
      return rowsAboveWindow(random.pick([3, 5, 7]), mask);
    case 2:
      return rowSoFarWindow(random.pick([3, 5, 7]), mask);
    default: {
      const [rows, columns] = [random.int(1, 4), random.int(1, 5)];
      const above = random.int(0, rows - 1);
      // A window of rows above has rows above.
      const ownRow = random.pick(
        above > 0 ? (['none', 'left', 'centre', 'all'] as const) : (['left', 'centre', 'all'] as const),
      );
      return { rows, columns, above, left: random.int(0, columns - 1), ownRow };
    }
  }
}

/** Draws small images, and a filter with fewer or more channels than a vector has. */
export function randomShape(random: TestRandom): Shape {
  const groups = random.pick([1, 1, 3]);
  const pairs = random.int(0, 3) === 0;
  const outputs = groups + random.int(0, 18);
  return {
    n: random.int(1, 3),
    h: random.int(1, 6),
    w: random.int(1, 6),
    c: groups + random.int(0, 18),
    k: pairs ? 2 * Math.max(groups, Math.ceil(outputs / 2)) : outputs,
    groups,
    pairs,
    ...randomWindow(random),
  };
}

/** Returns the filter of a shape as src describes it. */
export const filterOf = (shape: Shape, bias = true): NamedFilter => {
  const { c, k, groups, pairs = false, rows, columns, above, left, ownRow } = shape;
  const window = { rows, columns, above, left, ownRow };
  return { name: 'conv', c, k, window, channelGroups: groups, pairs, bias };
};

/** Draws a tensor of normal values. */
export const tensor = (
  random: TestRandom,
  shape: readonly number[],
  type: 'activation' | 'float32' = 'activation',
): TestTensor => ({ shape, type, values: random.normals(elements(shape)) });

/** Draws a weight whose entries under the mask are NaN, which nothing may read. */
export function weightOf(random: TestRandom, shape: Shape): TestTensor {
  const { c, k, rows, columns } = shape;
  const weight = tensor(random, [k, c, rows, columns], 'float32');
  const values = Float32Array.from(weight.values, (value, i) => {
    const tap = i % (rows * columns);
    const filter = Math.floor(i / (rows * columns));
    const live = maskOf(shape, Math.floor(filter / c), filter % c, Math.floor(tap / columns), tap % columns);
    return live === 1 ? value : Number.NaN;
  });
  return { ...weight, values };
}

/** Returns the algorithm of a case. A third of them take Winograd, whose rounding is larger where sums cancel. */
export const algorithmOf = (index: number): 'direct' | 'winograd' =>
  index % 3 === 0 ? 'winograd' : 'direct';
