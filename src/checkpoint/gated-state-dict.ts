// Reads the gated network from a PyTorch state dict with the names of docs/gated.md.
import { check, PixelCnnError } from '../errors.js';
import { networkOf } from '../models/architectures.js';
import { checkParameters, checkShapes } from '../models/check-parameters.js';
import { checkExpected, type PixelCnnConfig, type PixelCnnOptions } from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import type { Declaration } from '../ops/declarations.js';
import { foreignContent } from './foreign-tensors.js';
import {
  type FoundNetwork,
  layersNote,
  levelsOf,
  parseDerivedConfig,
  pixelsNote,
  type Tensors,
} from './found-network.js';
import { float32Of } from './safetensors.js';
import { applyFileMasks, type MaskedLayer } from './state-dict-masks.js';

/**
 * Returns what all names of a gated network begin with, e.g. `module.`, or undefined if the names are not those of our
 * gated network. Two of the parts that only gated layers have must be there, because other networks use one of the
 * words as well.
 */
export function gatedPrefix(names: Iterable<string>): string | undefined {
  const partsUnder = new Map<string, Set<string>>();
  for (const name of names) {
    const found = /^(.*\.)?layers\.\d+\.(vertical|horizontal|link)\.weight$/.exec(name);
    if (found === null) continue;
    const [, prefix = '', part] = found;
    const parts = partsUnder.get(prefix) ?? new Set();
    partsUnder.set(prefix, parts.add(part!));
    if (parts.size === 2) return prefix;
  }
  return undefined;
}

/**
 * Reads a gated network whose names begin with `prefix`. Each convolution may have a mask buffer, `NAME.mask`. Any other
 * tensor is refused by name.
 * @throws PixelCnnError CKPT_CONFIG if the shapes contradict `expected`.
 */
export function readGatedNetwork(
  tensors: Tensors,
  prefix: string,
  expected: PixelCnnOptions,
  where: string,
): FoundNetwork {
  const config = configOf(tensors, prefix, expected, where);
  checkExpected(config, expected, 'shapes', where);
  const declared = [...networkOf(config).parameters];
  const declarations = declared.map((one) => ({ ...one, name: prefix + one.name }));
  checkNoOthers(tensors, declarations, prefix, config, where);
  // A network of convolutions without biases is the same as one whose biases are 0.
  const hasBiases = declarations.some(({ name }) => name.endsWith('.bias') && tensors.has(name));
  const values: NamedArrays = new Map();
  for (const { name, shape } of declarations) {
    const tensor = tensors.get(name);
    if (tensor !== undefined) {
      values.set(name, { shape: tensor.shape, data: float32Of(tensor, ` in tensor '${name}' of ${where}`) });
    } else if (!hasBiases && name.endsWith('.bias')) {
      values.set(name, { shape, data: new Float32Array(shape[0]!) });
    }
  }
  checkShapes(declarations, values, where);
  const maskNotes = applyFileMasks(maskedLayers(tensors, declarations, values), where);
  checkParameters(declarations, values, where);
  const layers = Array.from({ length: config.layers }, (_, l) => `${prefix}layers.${l}`);
  const weights = declarations.flatMap(({ name }) => tensors.get(name) ?? []);
  return {
    config,
    parameters: new Map(declared.map(({ name }) => [name, values.get(prefix + name)!])),
    layerNames: declarations.flatMap(({ name, filter }) => (filter === null ? [] : layerOf(name))),
    declarations,
    notes: [
      `a PyTorch state dict of a gated network: ${layersNote(layers, prefix, weights, hasBiases)}`,
      ...conditionNote(config, expected),
      `assumed: gates are interleaved, that is, output 2i of a vertical or horizontal convolution goes through tanh and output 2i + 1 through a sigmoid (halves made by chunk have the same shapes: docs/gated.md shows how to interleave them); ${pixelsNote(config)}`,
      ...maskNotes,
    ],
  };
}

/** Says what was assumed about the condition. */
function conditionNote({ condition }: PixelCnnConfig, expected: PixelCnnOptions): string[] {
  if (condition === undefined || expected.condition !== undefined) return [];
  return [
    `assumed: each of the ${condition.classes} rows of a condition is a class; say \`condition\`: { classes: ${condition.classes! - 1}, none: true } if the last is that of no class`,
  ];
}

const layerOf = (weight: string) => weight.replace(/\.weight$/, '');

/** Derives the configuration from the shapes of the weights that decide it. All others are checked against it later. */
function configOf(
  tensors: Tensors,
  prefix: string,
  expected: PixelCnnOptions,
  where: string,
): PixelCnnConfig {
  const shapeOf = (name: string) => {
    const tensor = tensors.get(prefix + name);
    check(tensor !== undefined, 'CKPT_MISSING_TENSOR', () => {
      return `${where}: there is no tensor '${prefix}${name}', and others are those of a gated network`;
    });
    check(tensor.shape.length === 4, 'CKPT_SHAPE', () => {
      return `${where}: tensor '${prefix}${name}' must have 4 axes, got [${tensor.shape.join(', ')}]`;
    });
    return tensor.shape as unknown as readonly [number, number, number, number];
  };
  const [pairs, channels, , firstKernelSize] = shapeOf('layers.0.vertical.weight');
  const [, , , kernelSize] = shapeOf('layers.1.vertical.weight');
  const [headChannels] = shapeOf('head.0.weight');
  const [outputs] = shapeOf('head.1.weight');
  check(pairs % 2 === 0, 'CKPT_SHAPE', () => {
    return `${where}: '${prefix}layers.0.vertical.weight' gives ${pairs} channels, expected two for each gate`;
  });
  const numbers = [...tensors.keys()].flatMap((name) => {
    const number = name.startsWith(`${prefix}layers.`) ? name.slice(prefix.length).split('.')[1]! : '';
    return /^\d+$/.test(number) ? [Number(number)] : [];
  });
  const config = {
    architecture: 'gated' as const,
    channels,
    hiddenChannels: pairs / 2,
    layers: numbers.reduce((most, number) => Math.max(most, number + 1), 0),
    levels: levelsOf(`${prefix}head.1`, outputs, channels, where),
    kernelSize,
    firstKernelSize,
    headChannels,
  };
  const condition = conditionFrom(tensors, prefix, pairs, expected, where);
  return parseDerivedConfig({ ...config, ...(condition !== undefined && { condition }) }, where);
}

/**
 * Finds the condition by the shape of its first projection: (classes, 2p) is a table of classes. A matrix (2p, d) may be
 * for features or for a map, which only the caller can know.
 */
function conditionFrom(
  tensors: Tensors,
  prefix: string,
  pairs: number,
  { condition }: PixelCnnOptions,
  where: string,
): PixelCnnOptions['condition'] {
  const name = `${prefix}layers.0.condition_horizontal.weight`;
  const tensor = tensors.get(name);
  if (tensor === undefined || condition !== undefined) return tensor && condition;
  const [rows, columns] = tensor.shape;
  if (tensor.shape.length === 2 && columns === pairs && rows !== pairs) return { classes: rows };
  throw new PixelCnnError(
    'CKPT_CONFIG',
    `${where}: tensor '${name}' is [${tensor.shape.join(', ')}], which does not say what the condition is`,
    { remedy: 'pass it as `condition`: { classes: n }, { features: d } or { map: d }' },
  );
}

/** Throws if the file has a tensor that is neither a parameter nor the mask buffer of one. */
function checkNoOthers(
  tensors: Tensors,
  declarations: readonly Declaration[],
  prefix: string,
  { layers }: PixelCnnConfig,
  where: string,
): void {
  const known = new Set(
    declarations.flatMap(({ name, filter }) => (filter === null ? [name] : [name, `${layerOf(name)}.mask`])),
  );
  const others = [...tensors.keys()].filter((name) => !known.has(name));
  if (others.length === 0) return;
  const lastResidual = `${prefix}layers.${layers - 1}.residual.`;
  const residual = others.find((name) => name.startsWith(lastResidual));
  if (residual !== undefined) {
    const message = `${where}: tensor '${residual}' is not part of the model, whose last layer, ${layers - 1}, has no residual`;
    throw new PixelCnnError('CKPT_UNKNOWN_TENSOR', message, {
      remedy:
        'leave it out, because nothing reads the horizontal stack after the last layer; if layers are missing after it, save all',
    });
  }
  // The parts of gated layers would be recognised as those of other networks.
  const foreign = others.filter((name) => !/(vertical|horizontal|link|residual|skip)/.test(name));
  throw (
    foreignContent(foreign, tensors, where) ??
    new PixelCnnError(
      'CKPT_UNKNOWN_TENSOR',
      `${where}: tensor '${others[0]}' is not part of the model, a gated network of ${layers} layers`,
    )
  );
}

/** Returns the filters with their weights and, where the file has one, mask buffer. */
function maskedLayers(
  tensors: Tensors,
  declarations: readonly Declaration[],
  values: NamedArrays,
): MaskedLayer[] {
  return declarations.flatMap(({ name, filter }) => {
    if (filter === null) return [];
    const buffer = `${layerOf(name)}.mask`;
    const mask = tensors.get(buffer);
    const own = { name: layerOf(name), filter, weight: values.get(name)!.data };
    return [{ ...own, mask: mask && { name: buffer, values: mask } }];
  });
}
