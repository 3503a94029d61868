// Masked convolution: shapes, masks and the recording of its ops (native/ops.h has the semantics).
//
//   y[n,i,j,o] = bias[o] + sum over live taps (r, s) and c of w[o,c,r,s] * x[n, i + r - k/2, j + s - k/2, c]
//
// Live taps: all rows above the centre; in the centre row those left of it; the centre itself for inputs of lower
// channel groups (mask A) or lower and equal ones (mask B). Van den Oord et al. 2016, "Pixel Recurrent Neural
// Networks", section 3.4.
import { check } from '../errors.js';
import type { Recorder } from '../program/recorder.js';
import { shapeText, type Tensor } from '../program/tensor.js';

export type MaskType = 'A' | 'B';

/**
 * `direct` computes every live tap and is exactly causal. `winograd` needs fewer multiplications for kernels 3, 5 and
 * 7 (others run direct), but its rounding mixes neighbouring pixels. `auto` is the fastest there is; on a GPU it is
 * chosen by timing our kernels and cuDNN's, and `winograd` means the same.
 */
export type Algorithm = 'auto' | 'direct' | 'winograd';
export const algorithms = ['auto', 'direct', 'winograd'] as const;

/** Geometry of a masked convolution, "same" padding, stride 1. Channel c is in group floor(c * groups / channels). */
export interface MaskedConv2dGeometry {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  /** Input channels. */
  readonly c: number;
  /** Output channels. */
  readonly k: number;
  /** Odd. */
  readonly kernelSize: number;
  readonly maskType: MaskType;
  readonly groups: number;
  readonly algorithm: Algorithm;
}

export const forward = 0;
export const backward = 1;
export type Direction = typeof forward | typeof backward;

/** The integers of MaskedConv2dShape in native/ops.h. */
export function shapeNumbers(r: Recorder, g: MaskedConv2dGeometry): number[] {
  const mask = g.maskType === 'A' ? 0 : 1;
  const algorithm = algorithms.indexOf(g.algorithm);
  return [g.n, g.h, g.w, g.c, g.k, g.kernelSize, mask, g.groups, algorithm, r.precisionNumber];
}

/** Bytes of packed weights; they do not depend on n, h and w. */
export function packedBytes(r: Recorder, g: MaskedConv2dGeometry, direction: Direction): number {
  return r.device.packedBytes(Int32Array.from(shapeNumbers(r, g)), direction);
}

/** Whether the weight of output o, input c at row r, column s takes part. */
export function isLiveTap(
  g: Pick<MaskedConv2dGeometry, 'c' | 'k' | 'kernelSize' | 'maskType' | 'groups'>,
  o: number,
  c: number,
  r: number,
  s: number,
): boolean {
  const centre = (g.kernelSize - 1) / 2;
  if (r !== centre || s !== centre) return r < centre || (r === centre && s < centre);
  const outputGroup = Math.floor((o * g.groups) / g.k);
  const inputGroup = Math.floor((c * g.groups) / g.c);
  return g.maskType === 'B' ? inputGroup <= outputGroup : inputGroup < outputGroup;
}

/** A filter to pack for one direction: masked weights (K, C, R, S) into `packed` of {@link packedBytes} bytes. */
export interface FilterPack {
  readonly geometry: MaskedConv2dGeometry;
  readonly direction: Direction;
  readonly weight: Tensor;
  readonly packed: Tensor;
}

/** Filters of one op: MaskedConv2dPack::kMostFilters of native/ops.h. */
const mostFilters = 32;

/** Packs filters, up to 32 of them in one op. */
export function maskedConv2dPack(r: Recorder, label: string, filters: readonly FilterPack[]): void {
  for (const { geometry: g, weight } of filters)
    requireShape(label, 'weight', weight, [g.k, g.c, g.kernelSize, g.kernelSize]);
  for (let start = 0; start < filters.length; start += mostFilters) {
    const list = filters.slice(start, start + mostFilters);
    r.emit({
      name: 'maskedConv2dPack',
      label,
      numbers: [
        list.length,
        ...list.flatMap(({ geometry, direction }) => [...shapeNumbers(r, geometry), direction]),
      ],
      operands: list.flatMap(({ weight, packed }) => [weight, packed]),
      result: list[0]!.packed,
    });
  }
}

/** y (N, H, W, K) from x (N, H, W, C), with ReLU if `relu`; float32 in any precision if `floatY`. */
export function maskedConv2dForward(
  r: Recorder,
  label: string,
  g: MaskedConv2dGeometry,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; relu: boolean; floatY?: boolean },
): Tensor {
  const { x, packed, bias, relu, floatY = false } = operands;
  requireShape(label, 'x', x, [g.n, g.h, g.w, g.c]);
  requireShape(label, 'bias', bias, [g.k]);
  const shape = [g.n, g.h, g.w, g.k];
  const y = floatY ? r.tensor(`${label} y`, shape) : r.activation(`${label} y`, shape);
  r.emit({
    name: 'maskedConv2dForward',
    label,
    numbers: [...shapeNumbers(r, g), relu ? 1 : 0, floatY ? 1 : 0],
    operands: [x, packed, bias, y],
    result: y,
  });
  return y;
}

/** gradX (N, H, W, C) from gradY (N, H, W, K); 0 where `gate`, the ReLU output that was x, is not positive. */
export function maskedConv2dBackwardInput(
  r: Recorder,
  label: string,
  g: MaskedConv2dGeometry,
  operands: { gradY: Tensor; packedBackward: Tensor; gate: Tensor | null },
): Tensor {
  const { gradY, packedBackward, gate } = operands;
  requireShape(label, 'gradY', gradY, [g.n, g.h, g.w, g.k]);
  const gradX = r.activation(`${label} gradX`, [g.n, g.h, g.w, g.c]);
  r.emit({
    name: 'maskedConv2dBackwardInput',
    label,
    numbers: shapeNumbers(r, g),
    operands: [gradY, packedBackward, gate, gradX],
    result: gradX,
  });
  return gradX;
}

/** gradWeight (K, C, R, S), exactly 0 under the mask, and gradBias (K). */
export function maskedConv2dBackwardWeight(
  r: Recorder,
  label: string,
  g: MaskedConv2dGeometry,
  operands: { x: Tensor; gradY: Tensor; gradWeight: Tensor; gradBias: Tensor },
): void {
  const { x, gradY, gradWeight, gradBias } = operands;
  requireShape(label, 'x', x, [g.n, g.h, g.w, g.c]);
  requireShape(label, 'gradY', gradY, [g.n, g.h, g.w, g.k]);
  requireShape(label, 'gradWeight', gradWeight, [g.k, g.c, g.kernelSize, g.kernelSize]);
  r.emit({
    name: 'maskedConv2dBackwardWeight',
    label,
    numbers: shapeNumbers(r, g),
    operands: [x, gradY, gradWeight, gradBias],
    result: gradWeight,
  });
}

/** Throws ERR_SHAPE unless the tensor has this shape. */
export function requireShape(label: string, name: string, tensor: Tensor, shape: readonly number[]): void {
  const equal =
    tensor.shape.length === shape.length && tensor.shape.every((size, axis) => size === shape[axis]);
  check(
    equal,
    'ERR_SHAPE',
    () => `${label}: ${name} must be ${shapeText(shape)}, got ${shapeText(tensor.shape)}`,
  );
}
