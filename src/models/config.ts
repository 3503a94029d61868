// Defines the configuration of a PixelCNN and the layers that follow from it.
import { PixelCnnError } from '../errors.js';
import type { LayerConfig } from '../layers/masked-conv2d.js';
import { parseOptions, z } from '../options.js';

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

const maxParameters = 2 ** 28;

/** The largest height and width, in pixels, that native/ops.h allows. */
export const maxImageSide = 2 ** 14;

/** Parses and checks a configuration. @throws PixelCnnError ERR_LIMIT for a model that would be too large. */
export function parseConfig(caller: string, options: unknown): PixelCnnConfig {
  const config = parseOptions(caller, configSchema, options);
  if (config.kernelSize % 2 === 0) {
    throw new PixelCnnError(
      'ERR_OUT_OF_RANGE',
      `${caller}: kernelSize must be odd, got ${config.kernelSize}`,
    );
  }
  if (config.hiddenChannels < config.channels) {
    throw new PixelCnnError(
      'ERR_OUT_OF_RANGE',
      `${caller}: hiddenChannels must be at least channels (${config.channels}), got ${config.hiddenChannels}`,
    );
  }
  const parameters = parameterCount(config);
  if (parameters > maxParameters) {
    throw new PixelCnnError(
      'ERR_LIMIT',
      `${caller}: the model would have ${parameters} parameters (${parameters * 4} bytes), the limit is ${maxParameters}`,
    );
  }
  return config;
}

/**
 * Returns the layers of the network of van den Oord et al. 2016 without residual blocks: a convolution with mask A from
 * the image, hidden ones with mask B, a ReLU after each, then a 1x1 convolution to channels * levels logits. The names
 * are those of an `nn.Sequential` that contains the ReLUs.
 */
export function layerConfigs(config: PixelCnnConfig): LayerConfig[] {
  const { channels, hiddenChannels, layers, levels, kernelSize } = config;
  return Array.from({ length: layers }, (_, index): LayerConfig => {
    const first = index === 0;
    const last = index === layers - 1;
    return {
      name: `net.${2 * index}`,
      c: first ? channels : hiddenChannels,
      k: last ? channels * levels : hiddenChannels,
      kernelSize: last ? 1 : kernelSize,
      maskType: first ? 'A' : 'B',
      channelGroups: channels,
    };
  });
}

/** Counts the weights and biases, those under the mask included. */
export function parameterCount(config: PixelCnnConfig): number {
  return layerConfigs(config).reduce(
    (sum, { c, k, kernelSize }) => sum + k * c * kernelSize * kernelSize + k,
    0,
  );
}

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
