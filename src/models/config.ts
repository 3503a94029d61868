// Defines the configuration of a PixelCNN.
import { PixelCnnError } from '../errors.js';
import { z } from '../options.js';

export const configSchema = z.strictObject({
  /** Image channels: 1 for grey, 3 for RGB. */
  channels: z.int().min(1).max(16).default(1),
  /** Channels of every hidden layer; at least `channels`. */
  hiddenChannels: z.int().min(1).max(2048).default(64),
  /** Masked convolutions, the first (mask A) and the last (1x1, to logits) included. */
  layers: z.int().min(2).max(128).default(7),
  /** The values that a pixel can take: 256 for 8-bit images, 2 for binary ones. docs/levels.md explains levels. */
  levels: z.int().min(2).max(256).default(256),
  /** Size of all filters but the last, odd. */
  kernelSize: z.int().min(1).max(31).default(7),
});

/**
 * The options that a PixelCNN is made from; each has a default.
 *
 * @interface
 */
export type PixelCnnOptions = z.input<typeof configSchema>;
/**
 * A complete configuration.
 *
 * @interface
 */
export type PixelCnnConfig = Readonly<z.output<typeof configSchema>>;

const { shape } = configSchema;
/** The same options without defaults: those that the caller of `PixelCNN.load` expects of a file. */
export const expectedSchema = z.strictObject({
  channels: shape.channels.unwrap().optional(),
  hiddenChannels: shape.hiddenChannels.unwrap().optional(),
  layers: shape.layers.unwrap().optional(),
  levels: shape.levels.unwrap().optional(),
  kernelSize: shape.kernelSize.unwrap().optional(),
});

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
  for (const name of Object.keys(configSchema.shape) as (keyof PixelCnnConfig)[]) {
    if (expected[name] === undefined || expected[name] === config[name]) continue;
    throw new PixelCnnError(
      'CKPT_CONFIG',
      `${where}: ${name} is ${config[name]} by its ${source}, the options say ${expected[name]}`,
      { remedy: `leave ${name} out of the options, or give another file` },
    );
  }
}
