// Defines the flags of `pixelcnn train`, which are the keys of its config file as well.
import { configSchema } from '../models/config.js';
import { z } from '../options.js';
import { hyperparameters } from '../train/options.js';
import { presets } from '../train/presets.js';
import { deviceOptions, outputOptions } from './common.js';
import { imageOptions, imagesText } from './image-options.js';

const { architecture, hiddenChannels, layers, levels, kernelSize, firstKernelSize, headChannels } =
  configSchema.shape;
export const dataOptions = {
  data: z.string().min(1).describe(imagesText),
  ...imageOptions,
  validation: z
    .union([z.number().min(0).max(0.5), z.string().min(1)])
    .default(0.05)
    .describe('share of the images to hold out, or other images; validated after every epoch'),
  test: z
    .union([z.string().min(1), z.literal(false)])
    .optional()
    .describe('images to evaluate once at the end, e.g. mnist:test; --no-test leaves out those of a preset'),
  testLimit: z.int().min(1).max(1e9).optional().describe('evaluate the first N images of --test only'),
};
export const modelOptions = {
  architecture: architecture.describe('kind of network: plain, or gated, which has no blind spot'),
  hiddenChannels: hiddenChannels.describe('channels of every hidden layer'),
  layers: layers.describe('plain: masked convolutions, the first and the last included; gated: gated layers'),
  levels: levels.describe('values of a pixel: 256 for 8-bit images, 2 for binary ones'),
  kernelSize: kernelSize.describe(
    'size of the filters, odd; plain: of all layers but the last (default 7); gated: of all but the first (3)',
  ),
  firstKernelSize: firstKernelSize.describe(
    'gated only: size of the filters of the first layer, odd, at least 3 (default 7)',
  ),
  headChannels: headChannels.describe(
    'gated only: channels between the last two 1x1 convolutions (default: the hidden channels)',
  ),
};
/** What images are drawn given. The command line knows classes only, because no file that it reads has more than labels. */
export const conditionFlags = {
  classes: z
    .union([
      z.literal('auto', 'expected auto, or a number of classes'),
      z.int().min(1).max(65_535),
      z.literal(false),
    ])
    .optional()
    .describe(
      'give the model the class of each image: auto takes the classes of the training images, N says how many there are; ' +
        '--no-classes leaves out those of a preset',
    ),
};
const modelFlags = z.strictObject(modelOptions);
type ModelFlags = z.output<typeof modelFlags>;

/** Returns the options of the model among those of a command. */
export function modelOptionsOf<Options extends ModelFlags>(options: Options): ModelFlags {
  const given = Object.keys(modelOptions).map((name) => [name, options[name as keyof ModelFlags]]);
  return Object.fromEntries(given) as ModelFlags;
}

export const runOptions = {
  preset: z
    .enum(Object.keys(presets) as [keyof typeof presets])
    .optional()
    .describe('a starting point whose values the other options override, see below'),
  out: z.string().min(1).optional().describe('folder of the run (default runs/<preset or data>-<time>)'),
  resume: z
    .boolean()
    .default(false)
    .describe('continue the run in --out, or else the newest run, from its newest checkpoint'),
  samples: z.int().min(0).max(1024).default(64).describe('images to draw after every epoch'),
};

export const trainFlags = z.strictObject({
  ...runOptions,
  ...dataOptions,
  ...modelOptions,
  ...conditionFlags,
  ...hyperparameters,
  ...deviceOptions,
  ...outputOptions,
});
export type TrainFlags = z.output<typeof trainFlags>;
/** The flags when the images are read, which say how many classes there are. */
export type ResolvedFlags = Omit<TrainFlags, 'classes'> & { readonly classes: number | false | undefined };
