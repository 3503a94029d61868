// Records the model's head: one op computes the logits, their softmax and the cross-entropy, and never stores the logits.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** The sizes of a head, which computes channels * levels logits per pixel from c hidden channels. */
export interface HeadShape {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly channels: number;
  readonly levels: number;
}

/** Returns the integers of a head in native/ops.h. */
export function headNumbers(r: Recorder, shape: HeadShape): number[] {
  return [shape.n, shape.h, shape.w, shape.c, shape.channels, shape.levels, r.precisionNumber];
}

/** Records nats (N, float64), -log p of each image's levels. */
export function softmaxCrossEntropy(
  r: Recorder,
  label: string,
  shape: HeadShape,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; level: Tensor },
): Tensor {
  const { x, packed, bias, level } = operands;
  const nats = r.tensor(`${label} nats`, [shape.n], 'float64');
  r.emit({
    name: 'softmaxCrossEntropy',
    label,
    numbers: headNumbers(r, shape),
    operands: [x, packed, bias, level, nats],
    result: nats,
  });
  return nats;
}

/**
 * Records nats and the gradients of their mean over all dimensions. x is the output of a ReLU, and gradX (N, H, W, C) the
 * gradient before that ReLU: 0 where x is 0.
 */
export function softmaxCrossEntropyBackward(
  r: Recorder,
  label: string,
  shape: HeadShape,
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
  const nats = r.tensor(`${label} nats`, [shape.n], 'float64');
  const gradX = r.activation(`${label} gradX`, [shape.n, shape.h, shape.w, shape.c]);
  r.emit({
    name: 'softmaxCrossEntropyBackward',
    label,
    numbers: headNumbers(r, shape),
    operands: [x, packed, packedBackward, bias, level, nats, gradX, gradWeight, gradBias],
    result: gradX,
  });
  return { nats, gradX };
}
