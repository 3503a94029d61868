// Records the sampler's draw of one image channel at the wavefront, and the advance of the wavefront's position.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import type { Front } from './front.js';
import { type HeadShape, headNumbers } from './softmax-cross-entropy.js';

/**
 * Records the draw of one image channel at the front t = position + `ahead`. A front beyond the image has no pixels, so a
 * program of many fronts may run past the last. The drawn level goes to `level` and, as the network's input, to `image`.
 */
export function sampleFront(
  r: Recorder,
  label: string,
  shape: HeadShape,
  front: Front,
  channel: number,
  ahead: number,
  operands: {
    x: Tensor;
    packed: Tensor;
    bias: Tensor;
    uniforms: Tensor;
    temperature: Tensor;
    position: Tensor;
    known: Tensor | null;
    level: Tensor;
    image: Tensor;
    logits: Tensor | null;
  },
): void {
  const { x, packed, bias, uniforms, temperature, position, known, level, image, logits } = operands;
  r.emit({
    name: 'sampleFront',
    label,
    numbers: [...headNumbers(r, shape), front.pad, front.slope, channel, ahead],
    operands: [x, packed, bias, uniforms, temperature, position, known, level, image, logits],
    result: level,
  });
}

/** Records the advance of the wavefront: position = position + fronts. */
export function nextFront(r: Recorder, label: string, fronts: number, position: Tensor): void {
  r.emit({ name: 'nextFront', label, numbers: [fronts], operands: [position], result: position });
}
