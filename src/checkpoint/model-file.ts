// A model as safetensors: PyTorch's names for the weights, the configuration in the metadata, and room for the state
// of a training run under prefixed names.
import { type ImageValues, imageValues } from '../data/image-batch.js';
import { check, PixelCnnError } from '../errors.js';
import { checkParameters, isFinite32 } from '../models/check-parameters.js';
import {
  checkExpected,
  layerConfigs,
  maxImageSide,
  type PixelCnnConfig,
  type PixelCnnOptions,
  parseConfig,
} from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import type { Weights } from '../models/weights.js';
import { parseJsonObject } from './header-json.js';
import {
  CHECKSUM_KEY,
  encodeSafetensors,
  float32Of,
  parseSafetensors,
  type SafetensorsTensor,
} from './safetensors.js';
import { readStateDict } from './state-dict.js';

const formatVersion = '1';
const maxObjectLength = 4096;
const versionKey = 'pixelcnn.version';
const configKey = 'pixelcnn.config';
const imageSizeKey = 'pixelcnn.imageSize';
const valuesKey = 'pixelcnn.values';
/** Of the metadata: which weights the file holds. */
export const weightsKey = 'pixelcnn.weights';
const stepKey = 'pixelcnn.step';
const trainingKey = 'pixelcnn.training';
/** Prefixes of tensors that are not weights of the network itself. */
const averagePrefix = 'ema.';
const trainingPrefix = 'training.';

export interface ModelFile {
  readonly config: PixelCnnConfig;
  readonly imageSize: { readonly height: number; readonly width: number } | undefined;
  /** What the numbers of the images are that it was trained on; undefined where nobody has said. */
  readonly values?: ImageValues | undefined;
  /** Steps that the weights were trained for; undefined where nobody has said. */
  readonly step?: number | undefined;
  /** What `parameters` are: the trained weights, or their moving average where the file holds that alone. */
  readonly weights: Weights;
  readonly parameters: NamedArrays;
  /** Exponential moving average of the parameters, where the file holds both. */
  readonly average?: NamedArrays | undefined;
  /** State of a training run: arrays by name and a JSON object. */
  readonly training?: { readonly arrays: NamedArrays; readonly state: Record<string, unknown> } | undefined;
}

/** The weights that a file holds. */
export function weightsIn({ weights, average }: Pick<ModelFile, 'weights' | 'average'>): readonly Weights[] {
  return average === undefined ? [weights] : [weights, 'ema'];
}

/** A model file as it was read. */
export interface DecodedModel extends ModelFile {
  /** What the file calls each layer. */
  readonly layerNames: readonly string[];
  /** What was found and what is assumed where the file does not tell; empty for a file of pixelcnn's. */
  readonly notes: readonly string[];
}

/**
 * The bytes of a model file, with a checksum over all of them.
 * @throws PixelCnnError CKPT_NONFINITE, CKPT_CONFIG: no file is written that could not be read back.
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
  };
  if (file.imageSize) metadata[imageSizeKey] = JSON.stringify(imageSizeOf({ ...file.imageSize }, 'model'));
  if (file.values) metadata[valuesKey] = file.values;
  if (file.step !== undefined) metadata[stepKey] = String(file.step);
  if (file.training) metadata[trainingKey] = JSON.stringify(file.training.state);
  return encodeSafetensors(tensors, metadata, { checksum: true });
}

/**
 * Reads a model file or a PyTorch state dict. The configuration is that of the metadata, without them that of the
 * shapes; `expected` must not contradict it. A file of pixelcnn's must have its checksum. All is checked here, before
 * anything is allocated for the model.
 * @throws PixelCnnError CKPT_* for malformed files; CKPT_VERSION, CKPT_CHECKSUM, CKPT_CONFIG, CKPT_MISSING_TENSOR,
 * CKPT_UNKNOWN_TENSOR, CKPT_SHAPE, CKPT_DTYPE, CKPT_MASK, CKPT_NONFINITE for files that do not describe a model.
 */
export function decodeModel(bytes: Uint8Array, expected: PixelCnnOptions = {}, file?: string): DecodedModel {
  const where = file === undefined ? 'model file' : file;
  // Dead taps may hold anything: what is not finite is refused below, where the mask is known.
  const { metadata, tensors } = parseSafetensors(bytes, {
    ...(file !== undefined && { file }),
    allowNonfinite: true,
  });
  // One flipped bit may hide one of these entries, but not all of them.
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
  const size = metadata[imageSizeKey];
  const state = metadata[trainingKey];
  check(state !== undefined || arrays.size === 0, 'CKPT_UNKNOWN_TENSOR', () => {
    return `${where}: tensors of a training run ('${trainingPrefix}…') but no '${trainingKey}' in the metadata`;
  });
  const layers = layerConfigs(config);
  checkParameters(layers, parameters, where);
  if (average.size > 0) checkParameters(layers, average, where, averagePrefix);
  const weights = weightsOf(metadata[weightsKey], average.size > 0, where);
  return {
    config,
    imageSize: size === undefined ? undefined : imageSizeOf(object(imageSizeKey, size), where),
    values: valuesOf(metadata[valuesKey], where),
    step: stepOf(metadata[stepKey], where),
    weights,
    parameters,
    average: average.size > 0 ? average : undefined,
    training: state === undefined ? undefined : { arrays, state: object(trainingKey, state) },
    layerNames: layers.map(({ name }) => name),
    notes: [],
  };
}

/** How the metadata names what a file holds: `raw`, `ema` or `raw+ema`. */
function weightsText(file: Pick<ModelFile, 'weights' | 'average'>): string {
  const text = weightsIn(file).join('+');
  check(text !== 'ema+ema', 'CKPT_CONFIG', () => 'a model file has one moving average, got two');
  return text;
}

/**
 * What the tensors without a prefix are. A file of an earlier pixelcnn does not say: its weights count as raw, as they
 * stand in the file.
 */
function weightsOf(text: string | undefined, hasAverage: boolean, where: string): Weights {
  if (text === undefined) return 'raw';
  const possible = hasAverage ? ['raw+ema'] : ['raw', 'ema'];
  check(possible.includes(text), 'CKPT_CONFIG', () => {
    return `${where}: metadata '${weightsKey}' says ${JSON.stringify(text)}, but the tensors are ${possible.map((one) => `'${one}'`).join(' or ')}`;
  });
  return text === 'ema' ? 'ema' : 'raw';
}

/** What a file of pixelcnn's must have. */
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

/** The tensors by what they are, as float32. */
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

function metadataObject(text: string, key: string, where: string): Record<string, unknown> {
  check(text.length <= maxObjectLength, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${key}' has ${text.length} characters, limit ${maxObjectLength}`;
  });
  try {
    return parseJsonObject(text, '');
  } catch (cause) {
    throw new PixelCnnError('CKPT_CONFIG', `${where}: metadata '${key}': ${(cause as Error).message}`, {
      cause,
    });
  }
}

function configOf(options: unknown, where: string): PixelCnnConfig {
  try {
    return parseConfig(where, options);
  } catch (cause) {
    throw new PixelCnnError('CKPT_CONFIG', `${where}: ${(cause as Error).message}`, { cause });
  }
}

function imageSizeOf(
  { height, width }: Readonly<Record<string, unknown>>,
  where: string,
): { height: number; width: number } {
  const valid = [height, width].every(
    (side) => Number.isInteger(side) && Number(side) >= 1 && Number(side) <= maxImageSide,
  );
  check(
    valid,
    'CKPT_CONFIG',
    () => `${where}: image size ${String(height)}x${String(width)} is out of range`,
  );
  return { height: Number(height), width: Number(width) };
}

function valuesOf(text: string | undefined, where: string): ImageValues | undefined {
  const values = imageValues.find((known) => known === text);
  check(text === undefined || values !== undefined, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${valuesKey}' must be 'bytes' or 'levels', got ${JSON.stringify(text)}`;
  });
  return values;
}

function stepOf(text: string | undefined, where: string): number | undefined {
  const step = Number(text);
  const valid = text === undefined || (/^\d{1,16}$/.test(text) && Number.isSafeInteger(step));
  check(valid, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${stepKey}' must be a number of steps, got ${JSON.stringify(text?.slice(0, 40))}`;
  });
  return text === undefined ? undefined : step;
}
