// Records the sum over all pixels of an image: the gradient of a vector that is added to every pixel.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** Records the sums of x (N, H, W, C) over the pixels of each image: (N, 1, 1, C). */
export function sumPixels(r: Recorder, label: string, x: Tensor): Tensor {
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const y = r.activation(`${label} y`, [n, 1, 1, c]);
  r.emit({
    op: 'sumPixels',
    label,
    fields: { n, pixels: h * w, c, precision: r.precisionNumber, x, y },
    result: y,
  });
  return y;
}
