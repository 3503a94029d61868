// Defines the configuration of a PixelCNN.
import { PixelCnnError } from '../errors.js';
import { z } from '../options.js';

/** The kinds of network; each has a file in src/models. */
const architectures = ['plain', 'gated'] as const;

export const configSchema = z.strictObject({
  /**
   * `plain` (default): a stack of masked convolutions with ReLU. `gated`: the Gated PixelCNN, which has no blind spot;
   * docs/gated.md explains it.
   */
  architecture: z.enum(architectures).default('plain'),
  /** Image channels: 1 for grey, 3 for RGB. */
  channels: z.int().min(1).max(16).default(1),
  /** Channels of every hidden layer; at least `channels`. */
  hiddenChannels: z.int().min(1).max(2048).default(64),
  /** plain: masked convolutions, the first (mask A) and the last (1x1, to logits) included. gated: gated layers. */
  layers: z.int().min(2).max(128).default(7),
  /** The values that a pixel can take: 256 for 8-bit images, 2 for binary ones. docs/levels.md explains levels. */
  levels: z.int().min(2).max(256).default(256),
  /** Size of the filters, odd. plain: of all but the last, default 7. gated: after the first layer, default 3. */
  kernelSize: z.int().min(1).max(31).optional(),
  /** gated only: size of the filters of the first layer, odd; at least 3, because mask A leaves nothing of 1. Default 7. */
  firstKernelSize: z.int().min(3).max(31).optional(),
  /** gated only: channels of the layer before the logits; at least `channels`. Default `hiddenChannels`. */
  headChannels: z.int().min(1).max(2048).optional(),
});

/**
 * The options that a PixelCNN is made from; each has a default.
 *
 * @interface
 */
export type PixelCnnOptions = z.input<typeof configSchema>;

/** The sizes that networks of every architecture have. */
export interface NetworkSizes {
  readonly channels: number;
  readonly hiddenChannels: number;
  readonly layers: number;
  readonly levels: number;
  readonly kernelSize: number;
}
/** The complete configuration of a plain network. */
export interface PlainConfig extends NetworkSizes {
  /** Absent for a plain network, also in files. */
  readonly architecture?: undefined;
}
/** The complete configuration of a gated network. */
export interface GatedConfig extends NetworkSizes {
  readonly architecture: 'gated';
  readonly firstKernelSize: number;
  readonly headChannels: number;
}
/** A complete configuration. One without an architecture is that of a plain network. */
export type PixelCnnConfig = PlainConfig | GatedConfig;

const { shape } = configSchema;
/** The same options without defaults: those that the caller of `PixelCNN.load` expects of a file. */
export const expectedSchema = z.strictObject({
  architecture: shape.architecture.unwrap().optional(),
  channels: shape.channels.unwrap().optional(),
  hiddenChannels: shape.hiddenChannels.unwrap().optional(),
  layers: shape.layers.unwrap().optional(),
  levels: shape.levels.unwrap().optional(),
  kernelSize: shape.kernelSize,
  firstKernelSize: shape.firstKernelSize,
  headChannels: shape.headChannels,
});

/** The names of the options of a configuration. */
export const optionNames = Object.keys(shape) as (keyof typeof shape)[];

/** Returns the value of an option; undefined for one that only networks of another architecture have. */
export function optionOf(config: PixelCnnConfig, name: keyof typeof shape): string | number | undefined {
  return name === 'architecture' ? (config.architecture ?? 'plain') : (config as Partial<GatedConfig>)[name];
}

/** The largest height and width, in pixels, that native/ops.h allows. */
export const maxImageSide = 2 ** 14;

/**
 * Checks a file's configuration against what the caller expects of it. `source` says from which part of the file the
 * configuration was read.
 * @throws PixelCnnError CKPT_CONFIG, with both values.
 */
export function checkExpected(
  config: PixelCnnConfig,
  expected: PixelCnnOptions,
  source: 'metadata' | 'shapes',
  where: string,
): void {
  for (const name of optionNames) {
    const value = optionOf(config, name);
    if (expected[name] === undefined || expected[name] === value) continue;
    const found =
      value === undefined
        ? `the model is ${optionOf(config, 'architecture')} and has no ${name}`
        : `${name} is ${value}`;
    throw new PixelCnnError(
      'CKPT_CONFIG',
      `${where}: ${found} by its ${source}, the options say ${expected[name]}`,
      { remedy: `leave ${name} out of the options, or give another file` },
    );
  }
}
