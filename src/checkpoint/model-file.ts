// Encodes a model as a safetensors file and decodes it again.
//
// The weights have the names that they have in PyTorch, and the metadata contain the configuration. The
// moving average of the weights and the state of a training run are in the same file, under names with a
// prefix.
import { check, PixelCnnError } from '../errors.js';
import { networkOf } from '../models/architectures.js';
import { checkParameters, isFinite32 } from '../models/check-parameters.js';
import { checkExpected, type PixelCnnConfig, type PixelCnnOptions } from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import { parseConfig } from '../models/parse-config.js';
import type { Weights } from '../models/weights.js';
import type { Declaration } from '../ops/declarations.js';
import {
  CHECKSUM_KEY,
  encodeSafetensors,
  float32Of,
  parseSafetensors,
  type SafetensorsTensor,
} from './safetensors.js';
import { readStateDict } from './state-dict.js';
import { metadataObject, readFacts, type TrainingFacts, writeFacts } from './training-facts.js';

const formatVersion = '1';
const versionKey = 'pixelcnn.version';
const configKey = 'pixelcnn.config';
/** The key in the metadata that says which weights the file holds. */
export const weightsKey = 'pixelcnn.weights';
const trainingKey = 'pixelcnn.training';
/** The prefixes of tensors that are not weights of the network itself. */
const averagePrefix = 'ema.';
const trainingPrefix = 'training.';

export interface ModelFile extends TrainingFacts {
  readonly config: PixelCnnConfig;
  /** What `parameters` are: the trained weights, or their moving average if the file holds only that. */
  readonly weights: Weights;
  readonly parameters: NamedArrays;
  /** The exponential moving average of the parameters, if the file holds both. */
  readonly average?: NamedArrays | undefined;
  /** The state of a training run: arrays by name and a JSON object. */
  readonly training?: { readonly arrays: NamedArrays; readonly state: Record<string, unknown> } | undefined;
}

/** Lists the weights that a file holds. */
export function weightsIn({ weights, average }: Pick<ModelFile, 'weights' | 'average'>): readonly Weights[] {
  return average === undefined ? [weights] : [weights, 'ema'];
}

/** A model that was read from a file. */
export interface DecodedModel extends ModelFile {
  /** The parameters of the network under their names in the file. */
  readonly declarations: readonly Declaration[];
  /**
   * Sentences about what was found in a PyTorch file and what is assumed. Empty for files that pixelcnn
   * wrote.
   */
  readonly notes: readonly string[];
}

/**
 * Encodes a model file with a checksum of all its bytes.
 * @throws PixelCnnError CKPT_NONFINITE if a value is NaN or infinite, because the file could not be read
 * back.
 */
export function encodeModel(file: ModelFile): Uint8Array {
  const tensors = new Map<string, SafetensorsTensor>();
  const add = (prefix: string, arrays: NamedArrays | undefined) => {
    for (const [name, { shape, data }] of arrays ?? []) {
      check(
        isFinite32(data),
        'CKPT_NONFINITE',
        () => `tensor '${prefix}${name}' has values that are not finite`,
      );
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      tensors.set(prefix + name, { dtype: 'F32', shape: [...shape], data: bytes });
    }
  };
  add('', file.parameters);
  add(averagePrefix, file.average);
  add(trainingPrefix, file.training?.arrays);
  const metadata: Record<string, string> = {
    format: 'pixelcnn',
    [versionKey]: formatVersion,
    [configKey]: JSON.stringify(file.config),
    [weightsKey]: weightsText(file),
    ...writeFacts(file),
  };
  if (file.training) metadata[trainingKey] = JSON.stringify(file.training.state);
  return encodeSafetensors(tensors, metadata, { checksum: true });
}

/**
 * Decodes a file of pixelcnn or a PyTorch state dict. The configuration is read from the metadata, or derived
 * from the shapes if there is none, and must not contradict `expected`. Everything is checked here, before
 * memory is allocated for the model.
 * @throws PixelCnnError with a code CKPT_*, which says what is wrong with the file.
 */
export function decodeModel(bytes: Uint8Array, expected: PixelCnnOptions = {}, file?: string): DecodedModel {
  const where = file === undefined ? 'model file' : file;
  // Weights that the mask sets to 0 may hold anything, even NaN. Those that matter are checked below, with
  // the mask.
  const { metadata, tensors } = parseSafetensors(bytes, {
    ...(file !== undefined && { file }),
    allowNonfinite: true,
  });
  // If any key starts with "pixelcnn.", pixelcnn wrote the file. Asking for one particular key would be
  // wrong: a flipped bit in that key would turn a damaged file into a valid state dict.
  const own = Object.keys(metadata).some((key) => key.startsWith('pixelcnn.'));
  if (!own) {
    const read = readStateDict(tensors, expected, where);
    return { ...read, imageSize: undefined, training: undefined };
  }
  checkOrigin(metadata, tensors, where);
  const object = (key: string, text: string) => metadataObject(text, key, where);
  const config = configOf(object(configKey, metadata[configKey]!), where);
  checkExpected(config, expected, 'metadata', where);
  const { parameters, average, arrays } = arraysOf(tensors, where);
  const state = metadata[trainingKey];
  check(state !== undefined || arrays.size === 0, 'CKPT_UNKNOWN_TENSOR', () => {
    return `${where}: tensors of a training run ('${trainingPrefix}…') but no '${trainingKey}' in the metadata`;
  });
  const declarations = [...networkOf(config).parameters];
  checkParameters(declarations, parameters, where);
  if (average.size > 0) checkParameters(declarations, average, where, averagePrefix);
  const weights = weightsOf(metadata[weightsKey], average.size > 0, where);
  return {
    config,
    ...readFacts(metadata, config, where),
    weights,
    parameters,
    average: average.size > 0 ? average : undefined,
    training: state === undefined ? undefined : { arrays, state: object(trainingKey, state) },
    declarations,
    notes: [],
  };
}

/** Returns the text in the metadata that says which weights a file holds: `raw`, `ema` or `raw+ema`. */
function weightsText(file: Pick<ModelFile, 'weights' | 'average'>): string {
  const text = weightsIn(file).join('+');
  check(text !== 'ema+ema', 'CKPT_CONFIG', () => 'a model file has one moving average, got two');
  return text;
}

/**
 * Says which weights the tensors without a prefix are. Files of earlier versions do not say it; their weights
 * count as raw.
 */
function weightsOf(text: string | undefined, hasAverage: boolean, where: string): Weights {
  if (text === undefined) return 'raw';
  const possible = hasAverage ? ['raw+ema'] : ['raw', 'ema'];
  check(possible.includes(text), 'CKPT_CONFIG', () => {
    return `${where}: metadata '${weightsKey}' says ${JSON.stringify(text)}, but the tensors are ${possible.map((one) => `'${one}'`).join(' or ')}`;
  });
  return text === 'ema' ? 'ema' : 'raw';
}

/** Throws unless the file has the version, checksum, configuration and element types that pixelcnn writes. */
function checkOrigin(
  metadata: Readonly<Record<string, string>>,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  where: string,
): void {
  const version = metadata[versionKey];
  check(version === formatVersion, 'CKPT_VERSION', () => {
    return `${where} has format version ${JSON.stringify(version)}, this release reads '${formatVersion}'`;
  });
  check(metadata[CHECKSUM_KEY] !== undefined, 'CKPT_CHECKSUM', () => `${where} has no '${CHECKSUM_KEY}'`);
  check(metadata[configKey] !== undefined, 'CKPT_CONFIG', () => `${where} has no '${configKey}'`);
  for (const [name, { dtype }] of tensors) {
    check(dtype === 'F32', 'CKPT_DTYPE', () => `${where}: tensor '${name}' must be F32, got ${dtype}`);
  }
}

/** Sorts the tensors by their prefixes and converts them to float32. */
function arraysOf(tensors: ReadonlyMap<string, SafetensorsTensor>, where: string) {
  const [parameters, average, arrays]: NamedArrays[] = [new Map(), new Map(), new Map()];
  for (const [name, tensor] of tensors) {
    const [prefix, target] = name.startsWith(trainingPrefix)
      ? [trainingPrefix, arrays]
      : name.startsWith(averagePrefix)
        ? [averagePrefix, average]
        : ['', parameters];
    target!.set(name.slice(prefix.length), {
      shape: tensor.shape,
      data: float32Of(tensor, ` in tensor '${name}' of ${where}`),
    });
  }
  return { parameters: parameters!, average: average!, arrays: arrays! };
}

function configOf(options: unknown, where: string): PixelCnnConfig {
  try {
    return parseConfig(where, options);
  } catch (cause) {
    throw new PixelCnnError('CKPT_CONFIG', `${where}: ${(cause as Error).message}`, { cause });
  }
}
