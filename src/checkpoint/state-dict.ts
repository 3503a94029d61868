// Reads a network from a PyTorch state dict.
//
// A state dict has no configuration, so the layers are found by the pattern of their names and by their
// shapes. Notes say what was found and what is assumed. The plain network is read here, the gated one in
// gated-state-dict.ts.
import { check, PixelCnnError } from '../errors.js';
import { networkOf } from '../models/architectures.js';
import { checkParameters } from '../models/check-parameters.js';
import { checkExpected, type PixelCnnConfig, type PixelCnnOptions } from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import type { Weights } from '../models/weights.js';
import type { Declaration } from '../ops/declarations.js';
import { foreignContent, namesAverage } from './foreign-tensors.js';
import {
  type FoundNetwork,
  layersNote,
  levelsOf,
  parseDerivedConfig,
  pixelsNote,
  type Tensors,
} from './found-network.js';
import { gatedPrefix, readGatedNetwork } from './gated-state-dict.js';
import { float32Of, type SafetensorsTensor } from './safetensors.js';
import { applyFileMasks, type MaskBuffer } from './state-dict-masks.js';

/** The network of a state dict, with the moving average of its weights if the file has both. */
export interface StateDict extends FoundNetwork {
  /** What `parameters` are: `raw`, unless the file shows that they are a moving average. */
  readonly weights: Weights;
  readonly average: NamedArrays | undefined;
}

/** One layer in the file. */
interface Layer {
  readonly name: string;
  readonly weight: SafetensorsTensor;
  readonly bias: SafetensorsTensor | undefined;
  readonly mask: MaskBuffer | undefined;
}

const averagePrefix = 'ema.';
/**
 * The counter of torch.optim.swa_utils.AveragedModel. The weights that it averages are next to it, under
 * `module.`.
 */
const averageCount = /^(.*\.)?n_averaged$/;

/**
 * Reads the network in a state dict, and its moving average if the same names also appear under `ema.`. A
 * gated network is recognised by its names. Otherwise the layers are the weights of rank 4 whose names are
 * PREFIX + number + SUFFIX, in the order of the numbers. Each may have a bias and a mask buffer. Any other
 * tensor is refused by name. The weights count as a moving average if their prefix says so (`ema_model.`) or
 * if the counter of an AveragedModel is next to them.
 * @throws PixelCnnError CKPT_CONFIG if the shapes contradict `expected`, or if there are two moving averages.
 */
export function readStateDict(tensors: Tensors, expected: PixelCnnOptions, where: string): StateDict {
  const isAverage = (name: string) =>
    name.startsWith(averagePrefix) && tensors.has(name.slice(averagePrefix.length));
  const raw = new Map([...tensors].filter(([name]) => !isAverage(name) && !averageCount.test(name)));
  const network = readNetwork(raw, expected, where);
  const counter = [...tensors.keys()].find((name) => averageCount.test(name));
  const averaged = [...tensors].filter(([name]) => isAverage(name));
  if (averaged.length === 0) return { ...network, ...weightsLabel(network, counter), average: undefined };
  check(!namesAverage(network.layerNames[0]!) && !countsModule(counter, network), 'CKPT_CONFIG', () => {
    return `${where}: '${network.layerNames[0]}.weight' is a moving average already, and there is another under '${averagePrefix}': save one of the two alone`;
  });
  for (const name of raw.keys()) {
    check(
      !/(^|\.)(weight|bias)$/.test(name) || tensors.has(averagePrefix + name),
      'CKPT_MISSING_TENSOR',
      () => {
        return `${where}: there is no tensor '${averagePrefix}${name}', and others have a moving average under '${averagePrefix}'`;
      },
    );
  }
  const average = new Map([
    // An average of the parameters does not contain the mask buffers, so take those of the weights.
    ...[...raw].filter(([name]) => name.endsWith('.mask')),
    ...averaged.map(([name, tensor]) => [name.slice(averagePrefix.length), tensor] as const),
  ]);
  const { parameters } = readNetwork(average, network.config, `${where}: under '${averagePrefix}'`);
  const notes = [...network.notes, `a moving average of the weights under '${averagePrefix}'`];
  return { ...network, weights: 'raw', average: parameters, notes };
}

/**
 * Whether the counter of an AveragedModel belongs to the layers, which are then under `module.` next to it.
 */
function countsModule(
  counter: string | undefined,
  { layerNames }: Pick<FoundNetwork, 'layerNames'>,
): boolean {
  return counter !== undefined && layerNames[0]!.startsWith(counter.replace(/n_averaged$/, 'module.'));
}

/** Says whether the weights of a file with one set of them are raw or an average; a note gives the evidence. */
function weightsLabel(
  { layerNames, notes }: FoundNetwork,
  counter: string | undefined,
): Pick<StateDict, 'weights' | 'notes'> {
  const [first] = layerNames as [string];
  const counted = counter === 'n_averaged' || countsModule(counter, { layerNames });
  if (!counted && !namesAverage(first)) {
    const alone = `'${counter}' counts an average that is not in the file: the weights count as raw`;
    return { weights: 'raw', notes: counter === undefined ? notes : [...notes, alone] };
  }
  const evidence = counted ? `'${counter}' beside them` : `the name '${first}.weight'`;
  return { weights: 'ema', notes: [...notes, `the weights are a moving average, by ${evidence}`] };
}

/** Returns declarations under the names of a file's layers, which declare their weights in the same order. */
function renamed(declared: readonly Declaration[], layers: readonly Layer[]): Declaration[] {
  const layerOf = ({ name }: Declaration) => name.replace(/\.(weight|bias)$/, '');
  const names = new Map([...new Set(declared.map(layerOf))].map((name, i) => [name, layers[i]!.name]));
  return declared.map((declaration) => {
    const layer = layerOf(declaration);
    return { ...declaration, name: names.get(layer)! + declaration.name.slice(layer.length) };
  });
}

function readNetwork(tensors: Tensors, expected: PixelCnnOptions, where: string): FoundNetwork {
  const prefix = gatedPrefix(tensors.keys());
  if (prefix !== undefined) return readGatedNetwork(tensors, prefix, expected, where);
  return readPlainNetwork(tensors, expected, where);
}

function readPlainNetwork(tensors: Tensors, expected: PixelCnnOptions, where: string): FoundNetwork {
  const { layers, prefix } = findLayers(tensors, where);
  const config = configOf(layers, where);
  checkExpected(config, expected, 'shapes', where);
  const declared = [...networkOf(config).parameters];
  const declarations = renamed(declared, layers);
  const filters = declared.flatMap(({ filter }) => filter ?? []);
  const values: NamedArrays = new Map();
  const masked = layers.map(({ name, weight, bias, mask }, i) => {
    const data = float32Of(weight, ` in tensor '${name}.weight' of ${where}`);
    const biases = bias && float32Of(bias, ` in tensor '${name}.bias' of ${where}`);
    values.set(`${name}.weight`, { shape: weight.shape, data });
    // A convolution without bias is the same as one with a bias of 0.
    const k = weight.shape[0]!;
    values.set(`${name}.bias`, { shape: [k], data: biases ?? new Float32Array(k) });
    return { name, filter: filters[i]!, weight: data, mask };
  });
  const maskNotes = applyFileMasks(masked, where);
  checkParameters(declarations, values, where);
  const layerNames = layers.map(({ name }) => name);
  const weights = layers.map(({ weight }) => weight);
  const parameters: NamedArrays = new Map(
    declared.map(({ name }, i) => [name, values.get(declarations[i]!.name)!]),
  );
  return {
    config,
    parameters,
    layerNames,
    declarations,
    notes: [
      `a PyTorch state dict: ${layersNote(layerNames, prefix, weights, layers[0]!.bias !== undefined)}`,
      `assumed: ReLU after every layer but the last and nothing else between them; ${pixelsNote(config)}`,
      ...maskNotes,
    ],
  };
}

/** Finds the layers by the names of the tensors, and throws if any tensor belongs to none of them. */
function findLayers(tensors: Tensors, where: string): { layers: Layer[]; prefix: string } {
  const weights = [...tensors].flatMap(([name, { shape }]) => {
    return shape.length === 4 && /(^|\.)weight$/.test(name) ? [name.replace(/\.?weight$/, '')] : [];
  });
  const pattern = numberedNames(weights);
  const names = [...tensors.keys()];
  if (pattern === undefined) {
    const shown = weights.slice(0, 6).map((name) => `'${name}.weight'`);
    throw (
      foreignContent(names, tensors, where) ??
      new PixelCnnError(
        'CKPT_MISSING_TENSOR',
        `${where}: a state dict needs two or more weights of rank 4 whose names differ in one number, as 'net.0.weight' and 'net.2.weight', found ${weights.length} of rank 4${shown.length > 0 ? `: ${shown.join(', ')}` : ''}`,
      )
    );
  }
  const { prefix } = pattern;
  const layers = pattern.names.map(({ name, number }) => {
    // The mask may belong to a module around the convolution: blocks.0.conv.weight and blocks.0.mask.
    const maskName = [`${name}.mask`, `${prefix}${number}.mask`].find((one) => tensors.has(one));
    return {
      name,
      weight: tensors.get(`${name}.weight`)!,
      bias: tensors.get(`${name}.bias`),
      mask: maskName === undefined ? undefined : { name: maskName, values: tensors.get(maskName)! },
    };
  });
  const known = new Set(layers.flatMap(({ name, mask }) => [`${name}.weight`, `${name}.bias`, mask?.name]));
  const others = names.filter((name) => !known.has(name));
  if (others.length > 0) {
    throw (
      foreignContent(others, tensors, where) ??
      new PixelCnnError(
        'CKPT_UNKNOWN_TENSOR',
        `${where}: tensor '${others[0]}' is not part of the model, whose layers are '${layers[0]?.name}' to '${layers.at(-1)?.name}'`,
      )
    );
  }
  const biased = layers.filter(({ bias }) => bias !== undefined);
  const without = layers.find(({ bias }) => bias === undefined);
  check(biased.length === 0 || without === undefined, 'CKPT_MISSING_TENSOR', () => {
    return `${where}: there is no tensor '${without?.name}.bias', and other layers have one`;
  });
  return { layers, prefix };
}

/** Sorts names by the one number in which they differ. Returns undefined if they differ in anything else. */
function numberedNames(
  names: readonly string[],
): { names: { name: string; number: string }[]; prefix: string } | undefined {
  if (names.length < 2) return undefined;
  const reversed = names.map((name) => [...name].reverse().join(''));
  // The numbers may have a first or last digit in common (10, 11, 12), which belongs to the number and not to
  // the prefix.
  const prefix = commonStart(names).replace(/\d+$/, '');
  const after = commonStart(reversed).replace(/\d+$/, '').length;
  const numbered = names.map((name) => ({ name, number: name.slice(prefix.length, name.length - after) }));
  if (!numbered.every(({ number }) => /^(0|[1-9]\d{0,3})$/.test(number))) return undefined;
  numbered.sort((a, b) => Number(a.number) - Number(b.number));
  return { names: numbered, prefix };
}

function commonStart(texts: readonly string[]): string {
  const [first = '', ...others] = texts;
  let length = 0;
  while (length < first.length && others.every((text) => text[length] === first[length])) length += 1;
  return first.slice(0, length);
}

/** Derives the configuration from the shapes of the layers and checks that it is one of the plain network. */
function configOf(layers: readonly Layer[], where: string): PixelCnnConfig {
  const [first, last] = [layers[0]!, layers.at(-1)!];
  const channels = first.weight.shape[1]!;
  const [hiddenChannels, , kernelSize] = first.weight.shape as [number, number, number, number];
  for (const [i, { name, weight, bias }] of layers.entries()) {
    const isLast = i === layers.length - 1;
    const [k, c, rows, columns] = weight.shape as [number, number, number, number];
    const size = isLast ? 1 : kernelSize;
    const text = `${where}: '${name}.weight' is [${weight.shape.join(', ')}]`;
    check(rows === size && columns === size, 'CKPT_SHAPE', () => {
      return `${text}, expected a filter of ${size}x${size}: all layers have that of the first, ${kernelSize}x${kernelSize}, and the last has 1x1`;
    });
    const before = i === 0 ? channels : hiddenChannels;
    check(c === before, 'CKPT_SHAPE', () => {
      return `${text} and takes ${c} channels, but ${before} come in (a grouped, a transposed or a skipped convolution?)`;
    });
    check(isLast || k === hiddenChannels, 'CKPT_SHAPE', () => {
      return `${text} and gives ${k} channels: all hidden layers must give as many as the first, ${hiddenChannels}`;
    });
    check(bias === undefined || (bias.shape.length === 1 && bias.shape[0] === k), 'CKPT_SHAPE', () => {
      return `${where}: tensor '${name}.bias' must be [${k}], got [${bias?.shape.join(', ')}]`;
    });
  }
  const levels = levelsOf(last.name, last.weight.shape[0]!, channels, where);
  return parseDerivedConfig({ channels, hiddenChannels, layers: layers.length, levels, kernelSize }, where);
}
