// Defines the options of sampling, streaming and completing images.
import type { ImageBatch } from '../data/image-batch.js';
import { conditionOptions } from '../models/given-condition.js';
import { weightsOption } from '../models/weights.js';
import { seedOption, signalOption, z } from '../options.js';
import { isFloat32Array, isUint8Array } from '../realm.js';

const common = {
  /** The same seed draws the same images. Default: a random integer below 2^53, which the result names. */
  seed: seedOption.optional(),
  /** Divides the logits; 0 takes the most likely level. Default 1. */
  temperature: z.number().min(0).max(1e6).default(1),
  /** Index of the first image, e.g. 5 with count 5 for the images 5 to 9 of a seed. Default 0. */
  firstIndex: z
    .int()
    .min(0)
    .max(2 ** 31)
    .default(0),
  /** Default: EMA where the model holds both, else what it holds; see {@link PixelCNN.weights}. */
  weights: weightsOption,
  /** Sampling computes a few pixels at a time, which only the direct algorithm can. */
  algorithm: z.literal('direct').default('direct'),
  ...conditionOptions,
  /**
   * How strongly the condition counts: levels are drawn from logits none + guidance * (logits - none), where `none` are
   * those without a condition. Default 1, which takes the logits as they are; 0 draws without a condition; more than 1
   * exaggerates it. Other values than 1 are for a model that was trained with `conditionDropout`.
   */
  guidance: z.number().min(0).max(1000).default(1),
  signal: signalOption.optional(),
};
const sizes = {
  /** Number of images. Default: that of the condition, if it is given for each image, otherwise 1. */
  count: z.int().min(1).max(65536).optional(),
  /** Default: that of the training images. */
  height: z.int().min(1).max(4096).optional(),
  width: z.int().min(1).max(4096).optional(),
};
export const sizesSchema = z.strictObject(sizes);
export const sampleSchema = z.strictObject({
  ...sizes,
  ...common,
  /** Float32Array [N, H, W, channels] of numbers in [0, 1) to draw with. The seed then has no effect. */
  uniforms: z.custom<Float32Array>(isFloat32Array, 'expected a Float32Array').optional(),
});
export const streamSchema = z.strictObject({
  ...sizes,
  ...common,
  /** The steps of the wavefront from one frame to the next. Default: so many that there are about 40 frames. */
  stepsPerFrame: z.int().min(1).max(65536).optional(),
});
export const completeSchema = z.strictObject({
  ...common,
  images: z.custom<ImageBatch>(
    (value) => typeof value === 'object' && value !== null,
    'expected an ImageBatch',
  ),
  /** Uint8Array [N, H, W], non-zero where the pixel is known. */
  known: z.custom<Uint8Array>(isUint8Array, 'expected a Uint8Array'),
});

/**
 * The options of {@link PixelCNN.sample}.
 *
 * @interface
 */
export type SampleOptions = z.input<typeof sampleSchema>;
/**
 * The options of {@link PixelCNN.sampleStream}.
 *
 * @interface
 */
export type SampleStreamOptions = z.input<typeof streamSchema>;
/**
 * The options of {@link PixelCNN.complete}.
 *
 * @interface
 */
export type CompleteOptions = z.input<typeof completeSchema>;
