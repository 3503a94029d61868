// Records the lookup of rows in a table that is a parameter, and its gradient.
//
//   y[n,0,0,:] = table[index[n],:]
import { check } from '../errors.js';
import type { GradientSums } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import { elements, type Tensor } from '../program/tensor.js';

/** Records the rows of the parameter `name` (rows, size) at `index` (N, uint32): (N, 1, 1, size). */
export function embedding(r: Recorder, name: string, index: Tensor): Tensor {
  const table = r.parameter(name);
  check(table.shape.length === 2, 'ERR_SHAPE', () => `${name}: a table must have two dimensions`);
  const [rows, size] = table.shape as [number, number];
  const count = elements(index.shape);
  const images = { n: count, h: 1, w: 1 };
  const fields = { count, rows, size, precision: r.precisionNumber };
  const result = { name: `${name} y`, images, channels: size, sees: r.sights.of(index) };
  return r.pixelwise(result, (y) => ({
    op: 'embedding',
    label: name,
    fields: { ...fields, table, index, y },
    result: y,
    backward: (gradients) => recordBackward(r, gradients, name, fields, index, y),
  }));
}

/** Records the gradient of the table: the gradient rule of the lookup. */
function recordBackward(
  r: Recorder,
  gradients: GradientSums,
  name: string,
  fields: Readonly<Record<'count' | 'rows' | 'size' | 'precision', number>>,
  index: Tensor,
  y: Tensor,
): void {
  const gradY = gradients.of(y);
  if (gradY === undefined) return;
  const gradTable = gradients.parameter(name);
  r.emit({
    op: 'embeddingBackward',
    label: `${name} gradient`,
    fields: { ...fields, index, gradY, gradTable },
    result: gradTable,
  });
}
