// Defines the flags of `pixelcnn train`, which are the keys of its config file as well.
import { configSchema } from '../models/config.js';
import { z } from '../options.js';
import { hyperparameters } from '../train/options.js';
import { presets } from '../train/presets.js';
import { deviceOptions, outputOptions } from './common.js';
import { imageOptions, imagesText } from './image-options.js';

const { hiddenChannels, layers, levels, kernelSize } = configSchema.shape;
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
  hiddenChannels: hiddenChannels.describe('channels of every hidden layer'),
  layers: layers.describe('masked convolutions, the first and the last included'),
  levels: levels.describe('values of a pixel: 256 for 8-bit images, 2 for binary ones'),
  kernelSize: kernelSize.describe('size of all filters but the last, odd'),
};
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
  ...hyperparameters,
  ...deviceOptions,
  ...outputOptions,
});
export type TrainFlags = z.output<typeof trainFlags>;
