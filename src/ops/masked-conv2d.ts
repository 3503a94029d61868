// Records masked convolutions, forward and backward, and defines their shapes and masks.
//
//   y[n,i,j,o] = bias[o] + sum over live taps (r, s) and c of w[o,c,r,s] * x[n, i + r - k/2, j + s - k/2, c]
//
// Live taps: all rows above the centre; in the centre row those left of it; the centre itself for inputs of lower
// channel groups (mask A) or lower and equal ones (mask B). Van den Oord et al. 2016, "Pixel Recurrent Neural
// Networks", section 3.4.
import { check } from '../errors.js';
import type { Recorder } from '../program/recorder.js';
import { shapeText, type Tensor } from '../program/tensor.js';

/** At the centre tap, mask A hides the inputs of the output's own channel group, and mask B shows them. */
export type MaskType = 'A' | 'B';

/**
 * `direct` computes every live tap and is exactly causal. `winograd` needs fewer multiplications for kernels 3, 5 and 7
 * (others run direct), but its rounding mixes neighbouring pixels. On the CPU `auto` takes the one that is expected to be
 * faster. On a GPU it takes the fastest of our kernels and cuDNN's, which are timed once, and `winograd` means the same.
 */
export type Algorithm = 'auto' | 'direct' | 'winograd';
export const algorithms = ['auto', 'direct', 'winograd'] as const;

/** A masked filter and the algorithm that applies it, without the images that it is applied to. */
export interface FilterShape {
  /** Input channels. */
  readonly c: number;
  /** Output channels. */
  readonly k: number;
  /** Odd. */
  readonly kernelSize: number;
  readonly maskType: MaskType;
  /** Channel c of n channels is in group floor(c * channelGroups / n). */
  readonly channelGroups: number;
  readonly algorithm: Algorithm;
}

/** A masked filter applied to n images of h x w pixels: stride 1, "same" zero padding. */
export interface MaskedConv2dShape extends FilterShape {
  readonly n: number;
  readonly h: number;
  readonly w: number;
}

/** Which convolution a packed filter is for: that of the forward pass, or the one that computes the input gradient. */
export type Direction = 'forward' | 'backward';
const directions: readonly Direction[] = ['forward', 'backward'];

/** Returns the integers of MaskedConv2dShape in native/op_shapes.h. */
export function shapeNumbers(r: Recorder, shape: MaskedConv2dShape): number[] {
  const { n, h, w, c, k, kernelSize, maskType, channelGroups, algorithm } = shape;
  const mask = maskType === 'A' ? 0 : 1;
  return [n, h, w, c, k, kernelSize, mask, channelGroups, algorithms.indexOf(algorithm), r.precisionNumber];
}

/** Returns the integers of a filter. Native code reads them as the convolution of one image of one pixel. */
function filterNumbers(r: Recorder, filter: FilterShape): number[] {
  return shapeNumbers(r, { ...filter, n: 1, h: 1, w: 1 });
}

/** Returns the bytes of a packed filter. */
export function packedBytes(r: Recorder, filter: FilterShape, direction: Direction): number {
  return r.device.packedBytes(Int32Array.from(filterNumbers(r, filter)), directions.indexOf(direction));
}

/** Counts the taps before the centre in raster order. They are live for all channels, the centre only for some. */
export function tapsBeforeCentre(kernelSize: number): number {
  return (kernelSize ** 2 - 1) / 2;
}

/** Whether the weight from input channel c to output channel o at row r, column s is live, that is, not masked. */
export function isLiveTap(
  filter: Omit<FilterShape, 'algorithm'>,
  o: number,
  c: number,
  r: number,
  s: number,
): boolean {
  const { kernelSize, channelGroups } = filter;
  const centre = (kernelSize - 1) / 2;
  if (r !== centre || s !== centre) return r < centre || (r === centre && s < centre);
  const outputGroup = Math.floor((o * channelGroups) / filter.k);
  const inputGroup = Math.floor((c * channelGroups) / filter.c);
  return filter.maskType === 'B' ? inputGroup <= outputGroup : inputGroup < outputGroup;
}

/** The packing of one filter: its weights (K, C, R, S) go to `packed`, which has {@link packedBytes} bytes. */
export interface FilterPack {
  readonly filter: FilterShape;
  readonly direction: Direction;
  readonly weight: Tensor;
  readonly packed: Tensor;
}

/** The most filters of one op: MaskedConv2dPack::kMostFilters of native/ops.h. */
const mostFilters = 32;

/** Records the packing of filters, with one op for up to 32 of them. */
export function maskedConv2dPack(r: Recorder, label: string, filters: readonly FilterPack[]): void {
  for (const { filter, weight } of filters)
    checkShape(label, 'weight', weight, [filter.k, filter.c, filter.kernelSize, filter.kernelSize]);
  for (let start = 0; start < filters.length; start += mostFilters) {
    const list = filters.slice(start, start + mostFilters);
    r.emit({
      name: 'maskedConv2dPack',
      label,
      numbers: [
        list.length,
        ...list.flatMap(({ filter, direction }) => [
          ...filterNumbers(r, filter),
          directions.indexOf(direction),
        ]),
      ],
      operands: list.flatMap(({ weight, packed }) => [weight, packed]),
      result: list[0]!.packed,
    });
  }
}

/**
 * Records y (N, H, W, K) from x (N, H, W, C), followed by a ReLU if `relu`. With `floatY` y is float32 in every precision.
 */
export function maskedConv2dForward(
  r: Recorder,
  label: string,
  shape: MaskedConv2dShape,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; relu: boolean; floatY?: boolean },
): Tensor {
  const { x, packed, bias, relu, floatY = false } = operands;
  checkShape(label, 'x', x, [shape.n, shape.h, shape.w, shape.c]);
  checkShape(label, 'bias', bias, [shape.k]);
  const yShape = [shape.n, shape.h, shape.w, shape.k];
  const y = floatY ? r.tensor(`${label} y`, yShape) : r.activation(`${label} y`, yShape);
  r.emit({
    name: 'maskedConv2dForward',
    label,
    numbers: [...shapeNumbers(r, shape), relu ? 1 : 0, floatY ? 1 : 0],
    operands: [x, packed, bias, y],
    result: y,
  });
  return y;
}

/**
 * Records gradX (N, H, W, C) from gradY (N, H, W, K). If x is the output of a ReLU it is given as `reluOutput`, and gradX
 * is the gradient before that ReLU: 0 where x is not positive.
 */
export function maskedConv2dBackwardInput(
  r: Recorder,
  label: string,
  shape: MaskedConv2dShape,
  operands: { gradY: Tensor; packedBackward: Tensor; reluOutput: Tensor | null },
): Tensor {
  const { gradY, packedBackward, reluOutput } = operands;
  checkShape(label, 'gradY', gradY, [shape.n, shape.h, shape.w, shape.k]);
  const gradX = r.activation(`${label} gradX`, [shape.n, shape.h, shape.w, shape.c]);
  r.emit({
    name: 'maskedConv2dBackwardInput',
    label,
    numbers: shapeNumbers(r, shape),
    operands: [gradY, packedBackward, reluOutput, gradX],
    result: gradX,
  });
  return gradX;
}

/** Records gradWeight (K, C, R, S), which is exactly 0 under the mask, and gradBias (K). */
export function maskedConv2dBackwardWeight(
  r: Recorder,
  label: string,
  shape: MaskedConv2dShape,
  operands: { x: Tensor; gradY: Tensor; gradWeight: Tensor; gradBias: Tensor },
): void {
  const { x, gradY, gradWeight, gradBias } = operands;
  checkShape(label, 'x', x, [shape.n, shape.h, shape.w, shape.c]);
  checkShape(label, 'gradY', gradY, [shape.n, shape.h, shape.w, shape.k]);
  checkShape(label, 'gradWeight', gradWeight, [shape.k, shape.c, shape.kernelSize, shape.kernelSize]);
  r.emit({
    name: 'maskedConv2dBackwardWeight',
    label,
    numbers: shapeNumbers(r, shape),
    operands: [x, gradY, gradWeight, gradBias],
    result: gradWeight,
  });
}

/** Throws ERR_SHAPE unless the tensor has this shape. */
export function checkShape(label: string, name: string, tensor: Tensor, shape: readonly number[]): void {
  const equal =
    tensor.shape.length === shape.length && tensor.shape.every((size, axis) => size === shape[axis]);
  check(
    equal,
    'ERR_SHAPE',
    () => `${label}: ${name} must be ${shapeText(shape)}, got ${shapeText(tensor.shape)}`,
  );
}
