// A model as safetensors: PyTorch's names for the weights, the configuration in the metadata, and room for the state
// of a training run under prefixed names.
import { check, PixelCnnError } from '../errors.js';
import { layersOf, type PixelCnnConfig, type PixelCnnOptions, parseConfig } from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import { encodeSafetensors, float32Of, parseSafetensors, type SafetensorsTensor } from './safetensors.js';

const formatVersion = '1';
const maxConfigLength = 4096;
/** Prefixes of tensors that are not weights of the network itself. */
const averagePrefix = 'ema.';
const trainingPrefix = 'training.';

export interface ModelFile {
  readonly config: PixelCnnConfig;
  readonly imageSize: { readonly height: number; readonly width: number } | undefined;
  readonly parameters: NamedArrays;
  /** Exponential moving average of the parameters. */
  readonly average?: NamedArrays | undefined;
  /** State of a training run: arrays by name and a JSON object. */
  readonly training?: { readonly arrays: NamedArrays; readonly state: Record<string, unknown> } | undefined;
}

/** The bytes of a model file, with a checksum over all of them. */
export function encodeModel(file: ModelFile): Uint8Array {
  const tensors = new Map<string, SafetensorsTensor>();
  const add = (prefix: string, arrays: NamedArrays | undefined) => {
    for (const [name, { shape, data }] of arrays ?? []) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      tensors.set(prefix + name, { dtype: 'F32', shape: [...shape], data: bytes });
    }
  };
  add('', file.parameters);
  add(averagePrefix, file.average);
  add(trainingPrefix, file.training?.arrays);
  const metadata: Record<string, string> = {
    format: 'pixelcnn',
    'pixelcnn.version': formatVersion,
    'pixelcnn.config': JSON.stringify(file.config),
  };
  if (file.imageSize) metadata['pixelcnn.imageSize'] = JSON.stringify(file.imageSize);
  if (file.training) metadata['pixelcnn.training'] = JSON.stringify(file.training.state);
  return encodeSafetensors(tensors, metadata, { checksum: true });
}

/**
 * Reads a model file or a PyTorch state dict. Configuration: metadata first, then `options`, then the shapes.
 * @throws PixelCnnError CKPT_* for malformed files; CKPT_VERSION, CKPT_CONFIG, CKPT_MISSING_TENSOR,
 * CKPT_UNKNOWN_TENSOR, CKPT_SHAPE, CKPT_NONFINITE for files that do not describe a model.
 */
export function decodeModel(bytes: Uint8Array, options: PixelCnnOptions = {}, file?: string): ModelFile {
  const where = file === undefined ? 'model file' : file;
  // Dead taps may hold anything: what is not finite is refused below, where the mask is known.
  const { metadata, tensors } = parseSafetensors(bytes, {
    ...(file !== undefined && { file }),
    allowNonfinite: true,
  });
  const version = metadata['pixelcnn.version'];
  check(version === undefined || version === formatVersion, 'CKPT_VERSION', () => {
    return `${where} has format version '${version}', this release reads '${formatVersion}'`;
  });
  const stored = metadata['pixelcnn.config'];
  const config =
    stored === undefined
      ? inferConfig(tensors, options, where)
      : configOf(jsonObject(stored, 'pixelcnn.config', where), where);

  const names = new Set(layersOf(config).flatMap(({ name }) => [`${name}.weight`, `${name}.bias`]));
  const parameters: NamedArrays = new Map();
  const average: NamedArrays = new Map();
  const arrays: NamedArrays = new Map();
  for (const [name, tensor] of tensors) {
    if (name.startsWith(trainingPrefix)) {
      arrays.set(name.slice(trainingPrefix.length), { shape: tensor.shape, data: float32Of(tensor) });
      continue;
    }
    const own = name.startsWith(averagePrefix) ? name.slice(averagePrefix.length) : name;
    check(names.has(own), 'CKPT_UNKNOWN_TENSOR', () => `${where}: tensor '${name}' is not part of the model`);
    const target = own === name ? parameters : average;
    target.set(own, { shape: tensor.shape, data: float32Of(tensor) });
  }
  const size = metadata['pixelcnn.imageSize'];
  const state = metadata['pixelcnn.training'];
  return {
    config,
    imageSize:
      size === undefined ? undefined : imageSizeOf(jsonObject(size, 'pixelcnn.imageSize', where), where),
    parameters,
    average: average.size > 0 ? average : undefined,
    training:
      state === undefined ? undefined : { arrays, state: jsonObject(state, 'pixelcnn.training', where) },
  };
}

function jsonObject(text: string, key: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    if (text.length <= maxConfigLength) value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  check(typeof value === 'object' && value !== null && !Array.isArray(value), 'CKPT_CONFIG', () => {
    return `${where}: metadata '${key}' must be a JSON object of at most ${maxConfigLength} characters`;
  });
  return value as Record<string, unknown>;
}

function configOf(options: unknown, where: string): PixelCnnConfig {
  try {
    return parseConfig(where, options);
  } catch (cause) {
    throw new PixelCnnError('CKPT_CONFIG', `${where}: ${(cause as Error).message}`, { cause });
  }
}

function imageSizeOf(size: Record<string, unknown>, where: string): { height: number; width: number } {
  const { height, width } = size;
  const valid = [height, width].every(
    (side) => Number.isInteger(side) && Number(side) >= 1 && Number(side) <= 4096,
  );
  check(
    valid,
    'CKPT_CONFIG',
    () => `${where}: image size ${String(height)}x${String(width)} is out of range`,
  );
  return { height: Number(height), width: Number(width) };
}

/** The configuration that the shapes of a state dict imply, checked against the given options. */
function inferConfig(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  options: PixelCnnOptions,
  where: string,
): PixelCnnConfig {
  const weights = [...tensors.keys()].flatMap((name) => {
    const match = /^net\.(\d{1,4})\.weight$/.exec(name);
    return match ? [Number(match[1])] : [];
  });
  const layers = weights.length;
  const first = tensors.get('net.0.weight')?.shape;
  const last = tensors.get(`net.${2 * (layers - 1)}.weight`)?.shape;
  check(first?.length === 4 && last?.length === 4, 'CKPT_MISSING_TENSOR', () => {
    return `${where}: a state dict needs weights 'net.0.weight', 'net.2.weight' … of rank 4, found ${layers} of them`;
  });
  const channels = first[1]!;
  const inferred = {
    channels,
    hiddenChannels: first[0]!,
    layers,
    levels: Math.floor(last[0]! / Math.max(channels, 1)),
    kernelSize: first[2]!,
  };
  return configOf({ ...inferred, ...options }, where);
}
