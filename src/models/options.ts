// Defines the options of creating a model and of running it forward on images.

import { seedOption, signalOption, z } from '../options.js';
import { algorithms } from '../program/algorithm.js';
import { configSchema } from './config.js';
import { conditionOptions } from './given-condition.js';
import { weightsOption } from './weights.js';

export const createSchema = configSchema.extend({
  /** The initial weights follow from this number alone. Default 0. */
  seed: seedOption.default(0),
});

/**
 * The options of {@link PixelCNN.create}; each has a default.
 *
 * @interface
 */
export type CreateOptions = z.input<typeof createSchema>;

export const weightsSchema = z.strictObject({ weights: weightsOption });

export const inferenceSchema = z.strictObject({
  /** Default `direct`, which is exactly causal and computes the same bits as the sampler. */
  algorithm: z.enum(algorithms).default('direct'),
  /** Default: the EMA weights if the model holds both; see {@link PixelCNN.weights}. */
  weights: weightsOption,
  ...conditionOptions,
  signal: signalOption.optional(),
});

/**
 * The options of {@link PixelCNN.logits}, {@link PixelCNN.logLikelihood} and {@link PixelCNN.trace}.
 *
 * @interface
 */
export type InferenceOptions = z.input<typeof inferenceSchema>;
