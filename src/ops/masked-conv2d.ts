// Records masked convolutions and their gradients.
//
//   y[n,i,j,o] = bias[o] + add[n,i,j,o]
//                + sum over live taps (r, s) and c of w[o,c,r,s] * x[n, i + r - above, j + s - left, c]
//
// window.ts says which taps are live. Van den Oord et al. 2016a, "Pixel Recurrent Neural Networks", section 3.4.
import { check } from '../errors.js';
import { type Algorithm, algorithms } from '../program/algorithm.js';
import { encodeFilter } from '../program/encode.js';
import type { PackList } from '../program/pack-list.js';
import type { GradientSums, OpFields } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import { joinedSight, ownRows, type Sight, sightThrough } from '../program/sight.js';
import { shapeText, type Tensor } from '../program/tensor.js';
import { type Filter, reachOf, weightShape } from './window.js';

/** A filter with the name of its parameters, `NAME.weight` and `NAME.bias`. */
export interface NamedFilter extends Filter {
  readonly name: string;
  /** Whether it has a bias. */
  readonly bias: boolean;
}

/** Which convolution a packed filter is for: that of the forward pass, or the one that computes the input gradient. */
export type Direction = 'forward' | 'backward';
const directions: readonly Direction[] = ['forward', 'backward'];

/** Returns the fields of FilterShape in native/op_shapes.h. */
export function filterFields(r: Recorder, filter: Filter, algorithm: Algorithm) {
  const { c, k, window, channelGroups, pairs = false } = filter;
  return {
    c,
    k,
    ...window,
    ownRow: ownRows.indexOf(window.ownRow),
    channelGroups,
    algorithm: algorithms.indexOf(algorithm),
    precision: r.precisionNumber,
    pairs: pairs ? 1 : 0,
  };
}

/** Returns the bytes of a packed filter. */
export function packedBytes(r: Recorder, filter: Filter, algorithm: Algorithm, direction: Direction): number {
  const fields = encodeFilter(filterFields(r, filter, algorithm));
  return r.device.packedBytes(fields, directions.indexOf(direction));
}

/**
 * Returns the weights of a filter, packed for one direction. They join the recorder's list of filters to pack if it has
 * one, and are packed right here otherwise. Some devices have one packing for both directions.
 */
export function packedFilter(
  r: Recorder,
  filter: NamedFilter,
  algorithm: Algorithm,
  direction: Direction,
): Tensor {
  const { packs } = r.options;
  const packedFor = r.device.packsOnce ? 'forward' : direction;
  const bytes = () => packedBytes(r, filter, algorithm, packedFor);
  const describe = (packed: Tensor): OpFields => ({
    ...filterFields(r, filter, algorithm),
    direction: directions.indexOf(packedFor),
    weight: r.parameter(`${filter.name}.weight`),
    packed,
  });
  if (packs !== undefined)
    return r.requireGradient(packs.packed(`${filter.name} packed ${packedFor}`, bytes, describe));
  const packed = r.tensor(`${filter.name} packed`, [bytes()], 'byte');
  maskedConv2dPack(r, `${filter.name} pack`, [describe(packed)]);
  return r.requireGradient(packed);
}

/** The most filters of one op: MaskedConv2dPack::kMostFilters of native/ops.h. */
const mostFilters = 32;

/** Records the packing of filters, with one op for up to 32 of them. */
export function maskedConv2dPack(r: Recorder, label: string, filters: readonly OpFields[]): void {
  for (let start = 0; start < filters.length; start += mostFilters) {
    const filter = filters.slice(start, start + mostFilters);
    r.emit({
      op: 'maskedConv2dPack',
      label,
      fields: { count: filter.length, filter },
      result: filter[0]!.packed as Tensor,
    });
  }
}

/** Records the packing of all filters of a list into states, before the op of index `before`. */
export function recordPacking(r: Recorder, list: PackList, before: number): void {
  const from = r.ops.length;
  for (const packed of list.tensors) r.states.add(packed);
  maskedConv2dPack(r, 'pack', list.fields);
  r.moveOps(from, before);
}

/** What a convolution does besides multiplying with its weights. */
export interface ConvolutionOptions {
  /** A tensor of the shape of the result that is added to it, or null for none. */
  readonly add?: Tensor | null;
  /** Whether a ReLU follows. */
  readonly relu?: boolean;
  /** Default: that of the recorder's options. */
  readonly algorithm?: Algorithm;
  /** Whether the result is float32 in every precision. */
  readonly floatY?: boolean;
  /** What the convolution is for, as its label says. Default `forward`. */
  readonly purpose?: string;
}

/**
 * Records conv(x) + bias + add, followed by a ReLU if `relu`: (N, H, W, C) to (N, H, W, K).
 * @throws PixelCnnError ERR_SHAPE; ERR_CAUSALITY for a filter that reads pixels which x has seen and the result must not.
 */
export function maskedConv2d(
  r: Recorder,
  filter: NamedFilter,
  x: Tensor,
  options: ConvolutionOptions = {},
): Tensor {
  const { add = null, relu = false, floatY = false, purpose = 'forward' } = options;
  const { name, c, k, window } = filter;
  const algorithm = options.algorithm ?? r.options.algorithm ?? 'direct';
  const label = `${name} ${purpose}`;
  const images = r.imagesOf(x);
  checkShape(label, 'x', x, [...x.shape.slice(0, 3), c]);
  if (add !== null) checkShape(label, 'add', add, [...x.shape.slice(0, 3), k]);
  const bias = filter.bias ? r.parameter(`${name}.bias`) : null;
  if (bias !== null) checkShape(label, 'bias', bias, [k]);
  const sees = resultSight(r, label, filter, x, add);
  const shape = { ...images, ...filterFields(r, filter, algorithm) };
  const float = floatY && ({ dtype: 'float32' } as const);
  const reads = { x, reach: reachOf(window) };
  const result = { name: `${label} y`, images, channels: k, sees, reads, ...float };
  return r.pixelwise(result, (y, region, position) => ({
    op: 'maskedConv2d',
    label,
    fields: {
      ...shape,
      ...region,
      relu: relu ? 1 : 0,
      floatY: floatY ? 1 : 0,
      x,
      packed: packedFilter(r, filter, algorithm, 'forward'),
      bias,
      add,
      position,
      y,
    },
    result: y,
    relu,
    backward: (gradients) => recordBackward(r, gradients, { filter, shape }, algorithm, { x, add, y }),
  }));
}

/** Returns what the result of a convolution sees. @throws PixelCnnError ERR_CAUSALITY for what it must not see. */
function resultSight(r: Recorder, label: string, filter: Filter, x: Tensor, add: Tensor | null): Sight {
  const own = sightThrough(label, r.sights.of(x), filter.window.ownRow);
  const sees = add === null ? own : joinedSight(own, r.sights.of(add));
  r.sights.checkGroups(label, sees, filter.channelGroups);
  return sees;
}

/** Records the gradients of a convolution's parameters, of x and of `add`: its gradient rule. */
function recordBackward(
  r: Recorder,
  gradients: GradientSums,
  applied: AppliedFilter & { readonly filter: NamedFilter },
  algorithm: Algorithm,
  { x, add, y }: { x: Tensor; add: Tensor | null; y: Tensor },
): void {
  const gradY = gradients.of(y);
  if (gradY === undefined) return;
  const { filter } = applied;
  const { name } = filter;
  const gradWeight = gradients.parameter(`${name}.weight`);
  const gradBias = filter.bias ? gradients.parameter(`${name}.bias`) : null;
  const operands = { x, gradY, gradWeight, gradBias };
  maskedConv2dBackwardWeight(r, `${name} weight gradient`, applied, operands);
  gradients.add(x, (sum, reluOutput) => {
    const packed = packedFilter(r, filter, algorithm, 'backward');
    const inputs = { gradY, packed, add: sum, reluOutput };
    return maskedConv2dBackwardInput(r, `${name} input gradient`, applied, inputs);
  });
  if (add !== null) gradients.share(add, gradY);
}

/** A filter applied to images, with the fields of MaskedConv2dShape in native/op_shapes.h. */
export interface AppliedFilter {
  readonly filter: Filter;
  readonly shape: Readonly<Record<'n' | 'h' | 'w' | 'c' | 'k', number>> & OpFields;
}

/**
 * Records gradX (N, H, W, C) from gradY (N, H, W, K), plus `add` if given. If x is the output of a ReLU it is given as
 * `reluOutput`, and gradX is the gradient before that ReLU: 0 where x is not positive.
 */
export function maskedConv2dBackwardInput(
  r: Recorder,
  label: string,
  { shape }: AppliedFilter,
  operands: { gradY: Tensor; packed: Tensor; add: Tensor | null; reluOutput: Tensor | null },
): Tensor {
  const { gradY, packed, add, reluOutput } = operands;
  const { n, h, w, c, k } = shape;
  checkShape(label, 'gradY', gradY, [n, h, w, k]);
  const gradX = r.activation(`${label} gradX`, [n, h, w, c]);
  r.emit({
    op: 'maskedConv2dBackwardInput',
    label,
    fields: { ...shape, gradY, packed, add, reluOutput, gradX },
    result: gradX,
  });
  return gradX;
}

/**
 * Records gradWeight, (K, C, R, S) or as a matrix (K, C * R * S), which is exactly 0 under the mask, and gradBias (K) unless
 * that is null.
 */
export function maskedConv2dBackwardWeight(
  r: Recorder,
  label: string,
  { shape, filter }: AppliedFilter,
  operands: { x: Tensor; gradY: Tensor; gradWeight: Tensor; gradBias: Tensor | null },
): void {
  const { x, gradY, gradWeight, gradBias } = operands;
  const { n, h, w, c, k } = shape;
  checkShape(label, 'x', x, [n, h, w, c]);
  checkShape(label, 'gradY', gradY, [n, h, w, k]);
  const asMatrix = gradWeight.shape.length === 2;
  const { rows, columns } = filter.window;
  checkShape(label, 'gradWeight', gradWeight, asMatrix ? [k, c * rows * columns] : weightShape(filter));
  r.emit({
    op: 'maskedConv2dBackwardWeight',
    label,
    fields: { ...shape, x, gradY, gradWeight, gradBias },
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
