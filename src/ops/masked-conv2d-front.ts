// Records the masked convolution of the sampler, which computes only the pixels on the wavefront.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import type { Front } from './front.js';
import { type MaskedConv2dShape, shapeNumbers } from './masked-conv2d.js';

/**
 * Records one hidden layer with ReLU at the front t = position + `ahead`, for the output channels of one channel group.
 * `x` and `y` are padded ({@link paddedShape}). The results have the same bits as maskedConv2dForward with `direct`.
 */
export function maskedConv2dFront(
  r: Recorder,
  label: string,
  shape: MaskedConv2dShape,
  front: Front,
  group: number,
  ahead: number,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; position: Tensor; y: Tensor },
): void {
  const { x, packed, bias, position, y } = operands;
  r.emit({
    name: 'maskedConv2dFront',
    label,
    numbers: [...shapeNumbers(r, shape), front.pad, front.slope, group, ahead],
    operands: [x, packed, bias, position, y],
    result: y,
  });
}
