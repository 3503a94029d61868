// Wavefront sampling: the ops that compute and draw the pixels (i, j) with j + slope * i = t, and the step counter. The
// ops work on t = step + ahead, so that one program may have many fronts; a t off the image has no pixels.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { type MaskedConv2dGeometry, shapeNumbers } from './masked-conv2d.js';
import { type HeadGeometry, headNumbers } from './softmax-cross-entropy.js';

/** The wavefront: `pad` is the largest kernelSize / 2 of the network, `slope` is pad + 1. */
export interface Front {
  readonly pad: number;
  readonly slope: number;
}

/** Steps until every pixel is drawn: W + slope * (H - 1). */
export function frontSteps(front: Front, h: number, w: number): number {
  return w + front.slope * (h - 1);
}

/** Rows of an image, and thereby pixels, that are on the front at step `t`. */
export function frontRows({ slope }: Front, h: number, w: number, t: number): number {
  const first = Math.max(0, Math.floor((t - w) / slope) + 1);
  const last = Math.min(h - 1, Math.floor(t / slope));
  return Math.max(0, last + 1 - first);
}

/** Shape of an activation with the sampler's zero border. */
export function paddedShape(front: Front, n: number, h: number, w: number, channels: number): number[] {
  return [n, front.pad + h, front.pad + w + front.pad, channels];
}

/** Zeroes a tensor, up to the end of its last word of 32 bits. */
export function zero(r: Recorder, label: string, y: Tensor): void {
  r.emit({ name: 'zero', label, numbers: [Math.ceil(y.bytes / 4)], operands: [y], result: y });
}

/** One hidden layer with ReLU at the front, for the output channels of one group. */
export function maskedConv2dFront(
  r: Recorder,
  label: string,
  g: MaskedConv2dGeometry,
  front: Front,
  group: number,
  ahead: number,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; step: Tensor; y: Tensor },
): void {
  const { x, packed, bias, step, y } = operands;
  r.emit({
    name: 'maskedConv2dFront',
    label,
    numbers: [...shapeNumbers(r, g), front.pad, front.slope, group, ahead],
    operands: [x, packed, bias, step, y],
    result: y,
  });
}

/** Draws one image channel at the front. */
export function sampleFront(
  r: Recorder,
  label: string,
  g: HeadGeometry,
  front: Front,
  channel: number,
  ahead: number,
  operands: {
    x: Tensor;
    packed: Tensor;
    bias: Tensor;
    uniforms: Tensor;
    temperature: Tensor;
    step: Tensor;
    known: Tensor | null;
    level: Tensor;
    image: Tensor;
    logits: Tensor | null;
  },
): void {
  const { x, packed, bias, uniforms, temperature, step, known, level, image, logits } = operands;
  r.emit({
    name: 'sampleFront',
    label,
    numbers: [...headNumbers(r, g), front.pad, front.slope, channel, ahead],
    operands: [x, packed, bias, uniforms, temperature, step, known, level, image, logits],
    result: level,
  });
}

/** Advances the step counter: step = step + fronts. */
export function nextFront(r: Recorder, label: string, fronts: number, step: Tensor): void {
  r.emit({ name: 'nextFront', label, numbers: [fronts], operands: [step], result: step });
}
