// The masks of a PyTorch state dict: what the file says of them, in buffers or by zeros in the weights, against the masks
// of the plain network.
//
// PyTorch computes with weight * mask. Where the file's mask is stricter than ours, setting those weights to 0 gives
// exactly the model of the file. Where it is looser, the model uses a tap that ours cannot, and is another one.
import { check, PixelCnnError } from '../errors.js';
import type { LayerConfig } from '../layers/masked-conv2d.js';
import { isLiveTap } from '../ops/masked-conv2d.js';
import { float32Of, type SafetensorsTensor } from './safetensors.js';
import { DTYPE_BITS } from './tensor-elements.js';

export interface MaskBuffer {
  readonly name: string;
  readonly values: SafetensorsTensor;
}

export interface MaskedLayer {
  /** Its name is the file's, e.g. `module.net.0`. */
  readonly config: LayerConfig;
  /** (K, C, R, S); weights that the file's mask forbids become 0. */
  readonly weight: Float32Array;
  readonly mask: MaskBuffer | undefined;
}

/**
 * Applies the masks of the file and returns what is to be told about them.
 * @throws PixelCnnError CKPT_MASK for a mask that is no mask, or that allows what ours forbids.
 */
export function applyFileMasks(layers: readonly MaskedLayer[], where: string): string[] {
  const masked = layers.filter(({ mask }) => mask !== undefined);
  // Without a buffer a layer is a plain convolution where others have one; and where the weights after the centre are
  // 0 throughout, masks were multiplied into them. Both ways a weight that is not 0 is one the model uses.
  const usesAllWeights = masked.length > 0 || masksAreInWeights(layers);
  const stricter = new Map<string, number>();
  for (const layer of masked) {
    const forbidden = applyMaskBuffer(layer, layer.mask!, where);
    if (forbidden > 0) stricter.set(layer.config.name, forbidden);
  }
  for (const layer of layers) {
    if (usesAllWeights && layer.mask === undefined) checkForbiddenWeights(layer, masked.length > 0, where);
  }
  if (masked.length === 0) {
    return [
      usesAllWeights
        ? 'no mask buffers; the masks are in the weights: mask A in the first layer, mask B in the others'
        : 'no mask buffers; assumed: mask A in the first layer, mask B in the others',
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

/** Checks the buffer against our mask, sets what it forbids to 0, and counts what it forbids and ours allows. */
function applyMaskBuffer({ config, weight }: MaskedLayer, mask: MaskBuffer, where: string): number {
  const { c: inputs, k: outputs, kernelSize } = config;
  const { name, values } = mask;
  const allowed = maskValues(values, `'${name}' of ${where}`);
  const stride = broadcastStrides(values.shape, [outputs, inputs, kernelSize, kernelSize]);
  check(stride !== undefined, 'CKPT_MASK', () => {
    return `${where}: '${name}' of shape [${values.shape.join(', ')}] does not fit the weight [${[outputs, inputs, kernelSize, kernelSize].join(', ')}]`;
  });
  let forbidden = 0;
  eachTap(config, (at, o, c, r, s) => {
    const allows = allowed[o * stride[0]! + c * stride[1]! + r * stride[2]! + s * stride[3]!] === 1;
    const live = isLiveTap(config, o, c, r, s);
    if (allows && !live) throw looser(`${where}: '${name}' allows`, config, [o, c, r, s]);
    if (allows || !live) return;
    forbidden += 1;
    weight[at] = 0;
  });
  return forbidden;
}

function checkForbiddenWeights({ config, weight }: MaskedLayer, othersMasked: boolean, where: string) {
  eachTap(config, (at, o, c, r, s) => {
    if (weight[at] === 0 || isLiveTap(config, o, c, r, s)) return;
    const why = othersMasked
      ? 'has no mask buffer where other layers have one, and uses'
      : 'has zeros where masks forbid, but not at';
    throw looser(
      `${where}: '${config.name}.weight' ${why}`,
      config,
      [o, c, r, s],
      'if the model masks this layer as it runs, multiply the weight by that mask and save again',
    );
  });
}

type Tap = readonly [output: number, input: number, row: number, column: number];

function looser(
  what: string,
  { maskType, channelGroups }: LayerConfig,
  [o, c, r, s]: Tap,
  remedy?: string,
): PixelCnnError {
  const order =
    channelGroups === 1
      ? ''
      : `; with ${channelGroups} image channels, channel i of n is in group floor(i * ${channelGroups} / n), and a group sees ${maskType === 'A' ? 'lower channelGroups' : 'itself and lower channelGroups'}`;
  return new PixelCnnError(
    'CKPT_MASK',
    `${what} row ${r}, column ${s} of input channel ${c} for output channel ${o}, which mask ${maskType} forbids here: this is another model${order}`,
    remedy === undefined ? {} : { remedy },
  );
}

/** Whether all weights after the centre are 0, though not all weights are: masks were multiplied into the weights. */
function masksAreInWeights(layers: readonly MaskedLayer[]): boolean {
  let [after, others] = [0, 0];
  for (const { config, weight } of layers) {
    const area = config.kernelSize ** 2;
    for (let at = 0; at < weight.length; at += 1) {
      if (weight[at] === 0) continue;
      if (at % area > (area - 1) / 2) after += 1;
      else if (area > 1) others += 1;
    }
  }
  return after === 0 && others > 0;
}

/** Calls `visit` for every weight of (K, C, R, S) with its place in the array. */
function eachTap(
  { c: inputs, k: outputs, kernelSize }: LayerConfig,
  visit: (at: number, ...tap: Tap) => void,
) {
  let at = 0;
  for (let o = 0; o < outputs; o += 1)
    for (let c = 0; c < inputs; c += 1)
      for (let r = 0; r < kernelSize; r += 1)
        for (let s = 0; s < kernelSize; s += 1) {
          visit(at, o, c, r, s);
          at += 1;
        }
}

/** Distances in `shape` of neighbours along each axis of `target`, by PyTorch's rules; undefined where it does not fit. */
function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] | undefined {
  if (shape.length > target.length) return undefined;
  const padded = [...target.slice(shape.length).map(() => 1), ...shape];
  if (padded.some((size, axis) => size !== 1 && size !== target[axis])) return undefined;
  const strides = padded.map((_, axis) =>
    padded.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  return strides.map((stride, axis) => (padded[axis] === 1 ? 0 : stride));
}

/** The elements, each 0 or 1. @throws PixelCnnError CKPT_MASK for others, and for types that no mask has. */
function maskValues(mask: SafetensorsTensor, what: string): Uint8Array {
  const values = numbersOf(mask);
  check(
    values !== undefined,
    'CKPT_MASK',
    () => `${what} is ${mask.dtype}: a mask is BOOL, integers or floats`,
  );
  const wrong = values.findIndex((value) => value !== 0 && value !== 1);
  check(wrong < 0, 'CKPT_MASK', () => `${what} is no mask: element ${wrong} is ${values[wrong]}, not 0 or 1`);
  return Uint8Array.from(values);
}

function numbersOf(tensor: SafetensorsTensor): Float32Array | undefined {
  const { dtype, data } = tensor;
  if (['F16', 'BF16', 'F32', 'F64'].includes(dtype)) return float32Of(tensor);
  if (!/^(BOOL|[IU]\d+)$/.test(dtype)) return undefined;
  // Little-endian: 0 and 1 are all in the first byte of an integer. Any other integer must not look like them.
  const bytes = DTYPE_BITS.get(dtype)! / 8;
  return Float32Array.from({ length: data.length / bytes }, (_, i) => {
    const element = data.subarray(i * bytes, (i + 1) * bytes);
    return element.reduceRight((value, byte) => value * 256 + byte, 0);
  });
}
