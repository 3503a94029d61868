// The model's head: 1x1 masked convolution to logits, softmax and cross-entropy in one op. Logits are never stored.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** Sizes of the head: C hidden channels in, channels * levels logits per pixel. */
export interface HeadShape {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly channels: number;
  readonly levels: number;
}

/** The integers of a head in native/ops.h. */
export function headNumbers(r: Recorder, g: HeadShape): number[] {
  return [g.n, g.h, g.w, g.c, g.channels, g.levels, r.precisionNumber];
}

/** nats (N, float64): -log p of each image's levels. */
export function softmaxCrossEntropy(
  r: Recorder,
  label: string,
  g: HeadShape,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; level: Tensor },
): Tensor {
  const { x, packed, bias, level } = operands;
  const nats = r.tensor(`${label} nats`, [g.n], 'float64');
  r.emit({
    name: 'softmaxCrossEntropy',
    label,
    numbers: headNumbers(r, g),
    operands: [x, packed, bias, level, nats],
    result: nats,
  });
  return nats;
}

/** The same, with the gradients of the mean over all dimensions; gradX (N, H, W, C) is gated by x > 0. */
export function softmaxCrossEntropyBackward(
  r: Recorder,
  label: string,
  g: HeadShape,
  operands: {
    x: Tensor;
    packed: Tensor;
    packedBackward: Tensor;
    bias: Tensor;
    level: Tensor;
    gradWeight: Tensor;
    gradBias: Tensor;
  },
): { nats: Tensor; gradX: Tensor } {
  const { x, packed, packedBackward, bias, level, gradWeight, gradBias } = operands;
  const nats = r.tensor(`${label} nats`, [g.n], 'float64');
  const gradX = r.activation(`${label} gradX`, [g.n, g.h, g.w, g.c]);
  r.emit({
    name: 'softmaxCrossEntropyBackward',
    label,
    numbers: headNumbers(r, g),
    operands: [x, packed, packedBackward, bias, level, nats, gradX, gradWeight, gradBias],
    result: gradX,
  });
  return { nats, gradX };
}
