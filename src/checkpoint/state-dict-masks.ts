// Compares the masks of a PyTorch state dict with those of our network.
//
// A file states its masks in buffers or by zeros in the weights. PyTorch computes with weight * mask. If a
// mask of the file is stricter than ours, setting the weights that it forbids to 0 gives exactly the model of
// the file. If it is looser, the model uses a weight that our network cannot use, so it is another model and
// refused.
import { check, PixelCnnError } from '../errors.js';
import { type Filter, fullTaps, isLiveTap, weightShape } from '../ops/window.js';
import { float32Of, type SafetensorsTensor } from './safetensors.js';
import { DTYPE_BITS } from './tensor-elements.js';

export interface MaskBuffer {
  readonly name: string;
  readonly values: SafetensorsTensor;
}

export interface MaskedLayer {
  /** The name of the layer in the file, e.g. `module.net.0`. */
  readonly name: string;
  readonly filter: Filter;
  /** (K, C, R, S). Weights that the mask of the file forbids are set to 0. */
  readonly weight: Float32Array;
  readonly mask: MaskBuffer | undefined;
}

/**
 * Applies the masks of the file to the weights and returns notes about them.
 * @throws PixelCnnError CKPT_MASK if a buffer is no mask or allows what our mask forbids.
 */
export function applyFileMasks(layers: readonly MaskedLayer[], where: string): string[] {
  const masked = layers.filter(({ mask }) => mask !== undefined);
  // In two cases a layer without a buffer uses all its weights that are not 0. If other layers have buffers,
  // it is a convolution without a mask. If all weights after the centre are 0, the masks were multiplied into
  // the weights.
  const usesAllWeights = masked.length > 0 || masksAreInWeights(layers);
  const stricter = new Map<string, number>();
  for (const layer of masked) {
    const forbidden = applyMaskBuffer(layer, layer.mask!, where);
    if (forbidden > 0) stricter.set(layer.name, forbidden);
  }
  for (const layer of layers) {
    if (usesAllWeights && layer.mask === undefined) checkForbiddenWeights(layer, masked.length > 0, where);
  }
  if (masked.length === 0) {
    if (usesAllWeights) {
      return [
        'no mask buffers; the masks are in the weights: mask A in the first layer, mask B in the others',
      ];
    }
    const forbidden = layers.reduce((sum, layer) => sum + forbiddenWeights(layer), 0);
    return [
      `no mask buffers; assumed: mask A in the first layer, mask B in the others, applied by the model as it runs: ${forbidden} weights that they forbid are not 0 in the file and are taken as 0`,
    ];
  }
  const notes = [
    `mask buffers of ${masked.length} layers checked: they allow nothing that masks A and B forbid`,
  ];
  if (stricter.size > 0) {
    const shown = [...stricter].map(([name, count]) => `${count} of ${name}.weight`).join(', ');
    notes.push(
      `stricter mask buffers: weights that mask A or B allows are 0 here as in PyTorch (${shown}); training changes them`,
    );
  }
  return notes;
}

/**
 * Checks a mask buffer against our mask and sets the weights that it forbids to 0. Returns the number of
 * weights that it forbids and our mask allows.
 */
function applyMaskBuffer({ filter, weight }: MaskedLayer, mask: MaskBuffer, where: string): number {
  const { name, values } = mask;
  const allowed = maskValues(values, `'${name}' of ${where}`);
  const shape = weightShape(filter);
  const stride = broadcastStrides(values.shape, shape);
  check(stride !== undefined, 'CKPT_MASK', () => {
    return `${where}: '${name}' of shape [${values.shape.join(', ')}] does not fit the weight [${shape.join(', ')}]`;
  });
  let forbidden = 0;
  eachTap(filter, (at, o, c, r, s) => {
    const allows = allowed[o * stride[0]! + c * stride[1]! + r * stride[2]! + s * stride[3]!] === 1;
    const live = isLiveTap(filter, o, c, r, s);
    if (allows && !live) throw looserMaskError(`${where}: '${name}' allows`, filter, [o, c, r, s]);
    if (allows || !live) return;
    forbidden += 1;
    weight[at] = 0;
  });
  return forbidden;
}

function checkForbiddenWeights({ name, filter, weight }: MaskedLayer, othersMasked: boolean, where: string) {
  eachTap(filter, (at, o, c, r, s) => {
    if (weight[at] === 0 || isLiveTap(filter, o, c, r, s)) return;
    const why = othersMasked
      ? 'has no mask buffer where other layers have one, and uses'
      : 'has zeros where masks forbid, but not at';
    throw looserMaskError(
      `${where}: '${name}.weight' ${why}`,
      filter,
      [o, c, r, s],
      'if the model masks this layer as it runs, multiply the weight by that mask and save again',
    );
  });
}

/** Counts the weights that our mask forbids and that are not 0. */
function forbiddenWeights({ filter, weight }: MaskedLayer): number {
  let count = 0;
  eachTap(filter, (at, o, c, r, s) => {
    if (weight[at] !== 0 && !isLiveTap(filter, o, c, r, s)) count += 1;
  });
  return count;
}

type Tap = readonly [output: number, input: number, row: number, column: number];

function looserMaskError(
  start: string,
  { window, channelGroups, pairs = false }: Filter,
  [o, c, r, s]: Tap,
  remedy?: string,
): PixelCnnError {
  const maskType = window.ownRow === 'left' || window.ownRow === 'none' ? 'A' : 'B';
  const gates = pairs ? ', outputs 2i and 2i + 1 of a gate in that of channel i of n / 2' : '';
  const order =
    channelGroups === 1
      ? ''
      : `; with ${channelGroups} image channels, channel i of n is in group floor(i * ${channelGroups} / n)${gates}, and a group sees ${maskType === 'A' ? 'lower groups' : 'itself and lower groups'}`;
  return new PixelCnnError(
    'CKPT_MASK',
    `${start} row ${r}, column ${s} of input channel ${c} for output channel ${o}, which mask ${maskType} forbids here: this is another model${order}`,
    remedy === undefined ? {} : { remedy },
  );
}

/** Whether masks were multiplied into the weights: all that every channel must not see are 0, but not all others. */
function masksAreInWeights(layers: readonly MaskedLayer[]): boolean {
  let [after, others] = [0, 0];
  for (const { filter, weight } of layers) {
    const area = filter.window.rows * filter.window.columns;
    const { ownRow } = filter.window;
    // In masks A and B the tap after those that are live for all channels is the centre, which some channels see.
    const last = fullTaps(filter.window) - (ownRow === 'none' || ownRow === 'all' ? 1 : 0);
    for (let at = 0; at < weight.length; at += 1) {
      if (weight[at] === 0) continue;
      if (at % area > last) after += 1;
      else if (area > 1) others += 1;
    }
  }
  return after === 0 && others > 0;
}

/** Calls `visit` for every weight of (K, C, R, S) with its index in the array. */
function eachTap(filter: Filter, visit: (at: number, ...tap: Tap) => void) {
  const [outputs, inputs, rows, columns] = weightShape(filter);
  let at = 0;
  for (let o = 0; o < outputs; o += 1)
    for (let c = 0; c < inputs; c += 1)
      for (let r = 0; r < rows; r += 1)
        for (let s = 0; s < columns; s += 1) {
          visit(at, o, c, r, s);
          at += 1;
        }
}

/**
 * Returns the strides with which an array of `shape` is broadcast to `target` by PyTorch's rules, or
 * undefined if it cannot be broadcast.
 */
function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] | undefined {
  if (shape.length > target.length) return undefined;
  const padded = [...target.slice(shape.length).map(() => 1), ...shape];
  if (padded.some((size, axis) => size !== 1 && size !== target[axis])) return undefined;
  const strides = padded.map((_, axis) =>
    padded.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  return strides.map((stride, axis) => (padded[axis] === 1 ? 0 : stride));
}

/** Returns the elements of a mask. Throws CKPT_MASK unless each is 0 or 1. */
function maskValues(mask: SafetensorsTensor, name: string): Uint8Array {
  const values = numbersOf(mask);
  check(
    values !== undefined,
    'CKPT_MASK',
    () => `${name} is ${mask.dtype}: a mask is BOOL, integers or floats`,
  );
  const wrong = values.findIndex((value) => value !== 0 && value !== 1);
  check(wrong < 0, 'CKPT_MASK', () => `${name} is no mask: element ${wrong} is ${values[wrong]}, not 0 or 1`);
  return Uint8Array.from(values);
}

function numbersOf(tensor: SafetensorsTensor): Float32Array | undefined {
  const { dtype, data } = tensor;
  if (['F16', 'BF16', 'F32', 'F64'].includes(dtype)) return float32Of(tensor);
  if (!/^(BOOL|[IU]\d+)$/.test(dtype)) return undefined;
  // A float32 cannot hold every 64-bit integer, but 0 and 1 are exact, and no other integer is rounded to
  // them.
  const bytes = DTYPE_BITS.get(dtype)! / 8;
  return Float32Array.from({ length: data.length / bytes }, (_, i) => {
    const element = data.subarray(i * bytes, (i + 1) * bytes);
    return element.reduceRight((value, byte) => value * 256 + byte, 0);
  });
}
