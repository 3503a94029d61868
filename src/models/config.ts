// Defines the configuration of a PixelCNN.
import { PixelCnnError } from '../errors.js';
import { z } from '../options.js';

/** The kinds of network; each has a file in src/models. */
const architectures = ['plain', 'gated'] as const;

/** What a model is given besides the pixels before: a class, a vector of features, or a map over the pixels. */
export const conditionKinds = ['classes', 'features', 'map'] as const;
/** The kinds of condition, see {@link conditionKinds}. */
export type ConditionKind = (typeof conditionKinds)[number];

const conditionSchema = z.strictObject({
  /** The number of classes; images then have `labels`, 0 to classes - 1. */
  classes: z.int().min(1).max(65_535).optional(),
  /** The length of the vector that each image has as its `features`. */
  features: z
    .int()
    .min(1)
    .max(2 ** 14)
    .optional(),
  /** The channels of the map over the pixels that each image has as its `map`. */
  map: z
    .int()
    .min(1)
    .max(2 ** 14)
    .optional(),
  /** Whether the model also learns images without a condition (`conditionDropout`), which `guidance` needs. */
  none: z.boolean().optional(),
});

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
  /**
   * What images are drawn given: `{ classes: n }`, `{ features: d }` or `{ map: d }`, each with `none: true` if it may be
   * left out. Default: nothing. docs/conditions.md explains conditions.
   */
  condition: conditionSchema.optional(),
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
  /** Absent for a model without a condition, also in files. */
  readonly condition?: Condition | undefined;
}
/** A condition: one of the kinds with its size, and `none` if it may be left out. */
export interface Condition {
  readonly classes?: number;
  readonly features?: number;
  readonly map?: number;
  readonly none?: true;
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
  condition: shape.condition,
});

/** The names of the options of a configuration. */
export const optionNames = Object.keys(shape) as (keyof typeof shape)[];

/** Returns the value of an option, a condition as a text; undefined for one that only other networks have. */
export function optionOf(config: PixelCnnConfig, name: keyof typeof shape): string | number | undefined {
  if (name === 'architecture') return config.architecture ?? 'plain';
  if (name === 'condition') return conditionText(config.condition);
  return (config as Partial<GatedConfig>)[name];
}

/** Writes a condition as in `10 classes or nothing`, and undefined as `nothing`. */
export function conditionText(condition: z.input<typeof conditionSchema> | undefined): string {
  const kind = conditionKinds.find((name) => condition?.[name] !== undefined);
  if (condition === undefined || kind === undefined) return 'nothing';
  const size = condition[kind];
  const text = {
    classes: `${size} ${size === 1 ? 'class' : 'classes'}`,
    features: `${size} features`,
    map: `a map of ${size} channels`,
  }[kind];
  return condition.none ? `${text} or nothing` : text;
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
    const wanted = name === 'condition' ? conditionText(expected.condition) : expected[name];
    if (expected[name] === undefined || wanted === value) continue;
    const found =
      value === undefined
        ? `the model is ${optionOf(config, 'architecture')} and has no ${name}`
        : `${name} is ${value}`;
    throw new PixelCnnError('CKPT_CONFIG', `${where}: ${found} by its ${source}, the options say ${wanted}`, {
      remedy: `leave ${name} out of the options, or give another file`,
    });
  }
}
