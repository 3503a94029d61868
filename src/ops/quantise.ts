// Records how image bytes become levels and the network's input. src/data/levels.ts explains the formula.
//
//   level = floor(byte * levels / 256), x = level / (levels - 1)
import type { Recorder } from '../program/recorder.js';
import { elements, type Tensor } from '../program/tensor.js';

/** Records the levels (uint8) and the network's input x, both in the shape of `bytes`. */
export function quantise(
  r: Recorder,
  label: string,
  bytes: Tensor,
  levels: number,
): { level: Tensor; x: Tensor } {
  const level = r.tensor(`${label} level`, bytes.shape, 'uint8');
  const x = r.activation(`${label} x`, bytes.shape);
  r.emit({
    op: 'quantise',
    label,
    fields: { count: elements(bytes.shape), levels, precision: r.precisionNumber, bytes, level, x },
    result: x,
  });
  return { level, x };
}
