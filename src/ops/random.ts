// Records random draws on the device: uniforms for the sampler and binary images for dynamic binarisation.
import type { Recorder } from '../program/recorder.js';
import { elements, type Tensor } from '../program/tensor.js';

/** Records u (N, ...shape) in [0, 1), which follows from the key in `random`, each image's `index` and the position alone. */
export function randomUniform(
  r: Recorder,
  label: string,
  operands: { index: Tensor; random: Tensor; u: Tensor },
): void {
  const { index, random, u } = operands;
  const n = u.shape[0]!;
  r.emit({
    op: 'randomUniform',
    label,
    fields: { n, values: elements(u.shape) / n, index, random, u },
    result: u,
  });
}

/**
 * Records the draw of binary images: each byte becomes 255 with probability byte / 255, and 0 otherwise. The draw is
 * another one in every epoch, which is the third word of `random`.
 */
export function binarise(
  r: Recorder,
  label: string,
  operands: { bytes: Tensor; index: Tensor; random: Tensor },
): Tensor {
  const { bytes, index, random } = operands;
  const n = bytes.shape[0]!;
  const out = r.tensor(`${label} out`, bytes.shape, 'uint8');
  r.emit({
    op: 'binarise',
    label,
    fields: { n, pixels: elements(bytes.shape) / n, bytes, index, random, out },
    result: out,
  });
  return out;
}
