// Records the conversion of values from outside to the element type of activations.
import type { Recorder } from '../program/recorder.js';
import { activationType, elements, type Tensor } from '../program/tensor.js';

/** Records x (N, H, W, C, float32) as activations of the same shape, or nothing where those are float32 too. */
export function cast(r: Recorder, label: string, x: Tensor): Tensor {
  if (activationType[r.precision] === 'float32') return x;
  const [n, h, w, channels] = x.shape as [number, number, number, number];
  const result = { name: `${label} y`, images: { n, h, w }, channels, sees: r.sights.of(x) };
  return r.pixelwise(result, (y) => ({
    op: 'cast',
    label,
    fields: { count: elements(x.shape), precision: r.precisionNumber, x, y },
    result: y,
  }));
}
