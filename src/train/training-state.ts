// Converts the state of a run to and from a checkpoint, and checks that a resumed run is the same run.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ModelFile } from '../checkpoint/model-file.js';
import { checkBytes } from '../data/check-array.js';
import type { ImageBatch } from '../data/image-batch.js';
import { check } from '../errors.js';
import { networkOf } from '../models/architectures.js';
import { checkParameters } from '../models/check-parameters.js';
import { listOf } from '../models/class-labels.js';
import { optionNames, optionOf, type PixelCnnConfig } from '../models/config.js';
import type { GivenCondition } from '../models/given-condition.js';
import type { NamedArrays } from '../models/parameters.js';
import { z } from '../options.js';
import { type Numerics, numericsSchema } from './numerics.js';
import type { TrainSettings } from './options.js';
import type { OptimizerSnapshot } from './training-step.js';

/** Adam's moments; each has an array for every parameter, under the parameter's name. */
const moments = ['moment1', 'moment2'] as const;

/** Where a run is. Shuffle, binarisation and learning rate follow from `step` and the settings. */
export interface RunPosition {
  step: number;
  /** Sum of -log p, in nats, and number of the images of the epoch so far, without those of skipped steps. */
  epochNats: number;
  epochImages: number;
  /** Best validation loss so far, in nats per image. */
  bestNats: number | null;
  /**
   * Identifies the images, weights and protocol of that validation. Undefined without one, and in checkpoints
   * of earlier releases.
   */
  bestOf: string | undefined;
  /** Digest of the dataset, see {@link digestOf}. */
  digest: string;
}

const count = z.int().min(0);
const stateSchema = z.strictObject({
  step: count,
  epochNats: z.number(),
  epochImages: count,
  bestNats: z.number().nullable(),
  bestOf: z.string().optional(),
  /** The optimizer's state on the device: norm of the last gradient, steps taken, steps skipped, unused. */
  counters: z.tuple([z.number(), count, count, z.number()]),
  seed: count,
  batchSize: z.int().min(1),
  protocol: z.string(),
  validation: z.number(),
  dataset: z.string(),
  /** Undefined where it is 0. */
  conditionDropout: z.number().gt(0).max(1).optional(),
  /** What decided the bits of the steps. Undefined in checkpoints of earlier releases. */
  numerics: numericsSchema.optional(),
});

/** Returns the settings that decide which images a step sees. A resumed run must have the same. */
function identity(settings: TrainSettings, dataset: string) {
  const { seed, batchSize, protocol, validation, conditionDropout } = settings;
  const dropout = conditionDropout > 0 ? conditionDropout : undefined;
  return { seed, batchSize, protocol, validation: validation.share, dataset, conditionDropout: dropout };
}

/**
 * Computes the SHA-256 (its first 32 hexadecimal digits) of the images' shape, whether they hold levels, their values, and
 * their condition if the model has one. It works in pieces, so that the event loop goes on meanwhile.
 */
export async function digestOf(
  dataset: ImageBatch,
  name: string,
  condition: GivenCondition | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  hash.update([dataset.count, dataset.height, dataset.width, dataset.channels].join('x'));
  if (dataset.values === 'levels') hash.update(' levels');
  if (condition !== undefined) hash.update(` ${condition.kind}`);
  for (const values of [dataset.data, condition?.values]) {
    const piece = 1 << 20;
    for (let start = 0; values !== undefined && start < values.length; start += piece) {
      const part = values.subarray(start, start + piece);
      hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
      await new Promise(setImmediate);
    }
  }
  // If the caller transferred the images to another thread meanwhile, only a part of them was hashed.
  checkBytes(dataset.data, `train: ${name}`);
  return hash.digest('hex').slice(0, 32);
}

/** Makes the checkpoint of a run at `position`. */
export function toCheckpoint(
  config: PixelCnnConfig,
  position: RunPosition,
  snapshot: OptimizerSnapshot,
  settings: TrainSettings,
  dataset: ImageBatch,
  numerics: Numerics,
): ModelFile {
  const { digest, ...where } = position;
  const arrays: NamedArrays = new Map();
  for (const moment of moments) {
    for (const [name, value] of snapshot[moment]) arrays.set(`${moment}.${name}`, value);
  }
  // The norm is an output of a step and no state. After a skipped step it is not finite, which JSON cannot
  // express.
  const counters = [0, ...snapshot.counters.slice(1)];
  const state = { ...where, counters, ...identity(settings, digest), numerics };
  checkState(state, `the run at step ${position.step}`);
  return {
    config,
    imageSize: { height: dataset.height, width: dataset.width },
    values: dataset.values ?? 'bytes',
    classNames: settings.classNames,
    protocol: settings.protocol,
    step: position.step,
    weights: 'raw',
    parameters: snapshot.parameters,
    average: snapshot.average,
    training: { arrays, state },
  };
}

function checkState(state: unknown, where: string): z.output<typeof stateSchema> {
  const parsed = stateSchema.safeParse(state);
  const issue = parsed.error?.issues[0];
  check(parsed.success, 'CKPT_TRAINING_STATE', () => {
    return `${where}: training state: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`;
  });
  const { step, counters } = parsed.data;
  check(counters[1] + counters[2] === step, 'CKPT_TRAINING_STATE', () => {
    return `${where}: training state: step ${step}, but the optimizer took ${counters[1]} steps and skipped ${counters[2]}`;
  });
  return parsed.data;
}

/**
 * Reads and checks the state of the run and of its optimizer in a checkpoint.
 * @throws PixelCnnError CKPT_NO_TRAINING_STATE for the file of a model, which has no state to resume from.
 */
export function trainingState(file: ModelFile, path: string) {
  const { config, weights, parameters, average, training } = file;
  check(training !== undefined && weights === 'raw', 'CKPT_NO_TRAINING_STATE', () => {
    return `${path} holds a model but no state to resume from`;
  });
  const state = checkState(training.state, path);
  check(file.step === undefined || file.step === state.step, 'CKPT_TRAINING_STATE', () => {
    return `${path}: training state: step ${state.step}, but the metadata say ${file.step}`;
  });
  const [moment1, moment2]: NamedArrays[] = [new Map(), new Map()];
  for (const [name, value] of training.arrays) {
    const [moment, ...rest] = name.split('.');
    check(moments.includes(moment as never), 'CKPT_UNKNOWN_TENSOR', () => {
      return `${path}: tensor 'training.${name}' is not part of a training run`;
    });
    (moment === 'moment1' ? moment1 : moment2)!.set(rest.join('.'), value);
  }
  const declarations = networkOf(config).parameters;
  checkParameters(declarations, moment1!, path, 'training.moment1.');
  checkParameters(declarations, moment2!, path, 'training.moment2.');
  const { counters } = state;
  return { state, snapshot: { parameters, average, moment1: moment1!, moment2: moment2!, counters } };
}

/**
 * Reads from a checkpoint where its run was, the state of its optimizer, and the numerics of its steps, which
 * are null if it does not say them. `digest` is that of the dataset.
 * @throws PixelCnnError CKPT_MISMATCH if the checkpoint is of another model, dataset or run.
 */
export function fromCheckpoint(
  file: ModelFile,
  path: string,
  config: PixelCnnConfig,
  settings: TrainSettings,
  digest: string,
): { position: RunPosition; snapshot: OptimizerSnapshot; numerics: Numerics | null } {
  const { state, snapshot } = trainingState(file, path);
  for (const name of optionNames) {
    const [stored, value] = [optionOf(file.config, name), optionOf(config, name)];
    check(
      stored === value,
      'CKPT_MISMATCH',
      () => `${path} is of a model with \`${name}\` ${stored}, this one has ${value}`,
    );
  }
  const { classNames: before } = file;
  const { classNames: now } = settings;
  check(before === undefined || now === undefined || isDeepStrictEqual(before, now), 'CKPT_MISMATCH', () => {
    return `${path} is of a run whose classes are ${listOf(before!)}, those of the images are ${listOf(now!)}`;
  });
  check(state.dataset === digest, 'CKPT_MISMATCH', () => {
    return `${path} is of a run on other images, or on these prepared otherwise: their number, size or content has changed`;
  });
  for (const [name, value] of Object.entries(identity(settings, digest))) {
    const stored = state[name as keyof typeof state];
    // What is 0 may be left out of a checkpoint.
    check(stored === value, 'CKPT_MISMATCH', () => {
      return `${path} is of a run with \`${name}\` ${stored ?? 0}, this one has ${value ?? 0}`;
    });
  }
  const { step, epochNats, epochImages, bestNats, bestOf, numerics = null } = state;
  return { position: { step, epochNats, epochImages, bestNats, bestOf, digest }, snapshot, numerics };
}
