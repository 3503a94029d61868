// Defines what the readers of PyTorch state dicts find, and the parts of it that both architectures share.
import { check, PixelCnnError } from '../errors.js';
import type { PixelCnnConfig, PixelCnnOptions } from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import { parseConfig } from '../models/parse-config.js';
import type { Declaration } from '../ops/declarations.js';
import { readableNetworks } from './foreign-tensors.js';
import type { SafetensorsTensor } from './safetensors.js';

export type Tensors = ReadonlyMap<string, SafetensorsTensor>;

/** A network that was found in a file, with its weights. */
export interface FoundNetwork {
  readonly config: PixelCnnConfig;
  /** The parameters under the names that pixelcnn gives them. */
  readonly parameters: NamedArrays;
  /** The names of the layers in the file, e.g. `module.net.0`. */
  readonly layerNames: readonly string[];
  /** The parameters under their names in the file. */
  readonly declarations: readonly Declaration[];
  /** Sentences about what was found and what is assumed. */
  readonly notes: readonly string[];
}

/**
 * Returns the number of levels, by the number of outputs of the layer that gives the logits.
 * @throws PixelCnnError CKPT_SHAPE unless every image channel gets the same number, at least 2.
 */
export function levelsOf(layer: string, outputs: number, channels: number, where: string): number {
  if (outputs === channels) {
    const message = `${where}: '${layer}.weight' gives one output for each of ${channels} image channels (a sigmoid or a mean), and pixelcnn needs a logit for each of at least 2 levels`;
    const remedy =
      'for a sigmoid of one channel, levels 0 and 1 have the logits 0 and that output: put a row of zeros before the last weight, and a 0 before its bias';
    throw new PixelCnnError('CKPT_SHAPE', message, { remedy });
  }
  check(channels > 0 && outputs % channels === 0, 'CKPT_SHAPE', () => {
    return `${where}: '${layer}.weight' gives ${outputs} outputs, which are not a number of levels for each of ${channels} image channels`;
  });
  return outputs / channels;
}

/** Parses a configuration that was derived from shapes. @throws PixelCnnError CKPT_CONFIG if it makes no network. */
export function parseDerivedConfig(config: PixelCnnOptions, where: string): PixelCnnConfig {
  try {
    return parseConfig(where, config);
  } catch (cause) {
    const { message } = cause as Error;
    throw new PixelCnnError('CKPT_CONFIG', `${message}; ${readableNetworks}`, { cause });
  }
}

/** Returns a sentence about the layers of a file: how many, their names, whether they have biases, and their types. */
export function layersNote(
  names: readonly string[],
  prefix: string,
  weights: Iterable<SafetensorsTensor>,
  hasBiases: boolean,
): string {
  const types = [...new Set(Array.from(weights, ({ dtype }) => dtype))].filter((dtype) => dtype !== 'F32');
  return [
    `${names.length} layers, '${names[0]}' to '${names.at(-1)}' (${prefix === '' ? 'no prefix' : `prefix '${prefix}'`})`,
    ...(hasBiases ? [] : ['without biases']),
    ...(types.length > 0 ? [`read from ${types.join(' and ')} as float32`] : []),
  ].join(', ');
}

/** Returns a sentence about what pixels and outputs mean, which names and shapes do not show. */
export function pixelsNote({ channels }: PixelCnnConfig): string {
  const order = channels > 1 ? '; output c * levels + v is the logit of level v of channel c' : '';
  return `pixels enter as level / (levels - 1), from 0 to 1${order}`;
}
