// Defines the options of train() as one schema, from which the TypeScript type, CLI flags and config file follow.
import type { ImageBatch } from '../data/image-batch.js';
import { protocols } from '../data/protocol.js';
import type { GivenCondition } from '../models/given-condition.js';
import { eventOption, signalOption, z } from '../options.js';
import { algorithms } from '../program/algorithm.js';
import type { TrainEvent } from './events.js';

export const hyperparameters = {
  epochs: z
    .int()
    .min(1)
    .max(1e6)
    .optional()
    .describe('passes over the training images; default: 1, or with steps as many as those take'),
  steps: z
    .int()
    .min(1)
    .max(2 ** 31)
    .optional()
    .describe('stop after this many steps; with epochs as well, after whichever ends first'),
  batchSize: z.int().min(1).max(65536).default(32).describe('images per step'),
  learningRate: z.number().min(0).max(10).default(1e-3).describe('peak learning rate'),
  schedule: z
    .enum(['constant', 'cosine', 'step'])
    .default('constant')
    .describe(
      'learning rate over the run; cosine falls to 0, step multiplies by decayFactor every decaySteps',
    ),
  warmupSteps: z
    .union([z.number().min(0).lt(1), z.int().min(1).max(1e9)])
    .default(0)
    .describe('steps of linear warm-up before the schedule; below 1: that share of the run, e.g. 0.02'),
  decaySteps: z.int().min(1).max(1e9).default(1000).describe('for schedule step'),
  decayFactor: z.number().min(0).max(1).default(0.5).describe('for schedule step'),
  beta1: z.number().min(0).lt(1).default(0.9).describe("Adam's first moment decay"),
  beta2: z.number().min(0).lt(1).default(0.999).describe("Adam's second moment decay"),
  epsilon: z.number().gt(0).max(1).default(1e-8).describe("Adam's epsilon"),
  weightDecay: z.number().min(0).max(10).default(0).describe('decoupled weight decay (AdamW)'),
  maxGradientNorm: z.number().min(0).default(0).describe('clip the gradient to this L2 norm; 0 never clips'),
  emaDecay: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe('moving average of the weights, e.g. 0.999; 0 for none'),
  protocol: z
    .enum(protocols)
    .default('levels')
    .describe(
      'levels: bytes as they are; threshold or dynamic: binarised, at 128 or with probability byte / 255',
    ),
  conditionDropout: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      'share of the images that are trained without their condition, drawn anew every epoch; for a model with `none`, e.g. 0.1',
    ),
  seed: z
    .int()
    .min(0)
    .default(0)
    .describe(
      'shuffle, binarisation and validation split follow from it, on the command line the initial weights too',
    ),
  algorithm: z.enum(algorithms).default('auto').describe('masked convolution: auto, direct or winograd'),
  maxSkippedSteps: z
    .int()
    .min(1)
    .max(1e6)
    .default(10)
    .describe('consecutive steps with a gradient that is not finite before the run stops'),
  checkpointEvery: z.int().min(0).default(0).describe('steps between checkpoints; 0: after every epoch'),
  keepLast: z.int().min(1).max(1000).default(3).describe('checkpoints to keep, beside the best'),
};

export const trainSchema = z.strictObject({
  ...hyperparameters,
  /** The images to validate with after every epoch: a share of the dataset to hold out, or other images. */
  validation: z
    .union([
      z.number().min(0).max(0.5),
      z.custom<ImageBatch>((value) => typeof value === 'object' && value !== null, 'expected an ImageBatch'),
    ])
    .default(0),
  /** Folder for checkpoints. Without it none are written. */
  checkpointFolder: z.string().min(1).optional(),
  /**
   * true continues from the newest complete checkpoint of the folder, if there is one; a path, from that
   * file.
   */
  resume: z.union([z.boolean(), z.string().min(1)]).default(false),
  /** Number of images to draw after every epoch, for `sample` events. */
  samples: z.int().min(0).max(1024).default(0),
  /** When aborted, ends the run after the step in progress; the run rejects with the signal's reason. */
  signal: signalOption.optional(),
  /**
   * Called with every event, in order and at once: an alternative to iterating the run. If it throws, the run
   * ends as with a signal: after the step in progress, without a checkpoint of that step, and the run rejects
   * with the error.
   */
  onEvent: eventOption<TrainEvent>(),
});

/**
 * The options of {@link train}.
 *
 * @interface
 */
export type TrainOptions = z.input<typeof trainSchema>;

/** The images that a run validates with: a share of its dataset, or images that were given for it. */
export interface ValidationSource {
  /** Share of the dataset to hold out; 0 where `images` were given. Part of a checkpoint. */
  readonly share: number;
  readonly images: ImageBatch | undefined;
  /** The condition of these images, for a model with one. */
  readonly condition: GivenCondition | undefined;
}

/** The options of a run after train() has checked them, and what else follows from its images. */
export type TrainSettings = Omit<z.output<typeof trainSchema>, 'validation'> & {
  readonly validation: ValidationSource;
  /** The condition of the dataset's images, for a model with one. */
  readonly condition: GivenCondition | undefined;
  /** The names of the classes, for a model with classes: its own or, if it knows none, those of the dataset. */
  readonly classNames: readonly string[] | undefined;
};
