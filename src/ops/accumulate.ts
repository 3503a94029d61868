// Records the sum of two gradients of one tensor, for sums that no other op adds up.
import type { Recorder } from '../program/recorder.js';
import { elements, type Tensor } from '../program/tensor.js';

/**
 * Records a + b, or a if b is null, in the shape of a. It is 0 where `reluOutput` is given and not positive: the result is
 * then the gradient before that ReLU.
 */
export function accumulate(
  r: Recorder,
  label: string,
  a: Tensor,
  b: Tensor | null,
  reluOutput: Tensor | null,
): Tensor {
  const y = r.activation(`${label} y`, a.shape);
  const count = elements(a.shape);
  r.emit({
    op: 'accumulate',
    label,
    fields: { count, precision: r.precisionNumber, a, b, reluOutput, y },
    result: y,
  });
  return y;
}
