// The state of a run as it stands in a checkpoint, and the checks that a resumed run is the same run.
import { createHash } from 'node:crypto';
import type { ModelFile } from '../checkpoint/model-file.js';
import type { ImageBatch } from '../data/image-batch.js';
import { check } from '../errors.js';
import type { PixelCnnConfig } from '../models/config.js';
import type { NamedArrays } from '../models/parameters.js';
import { z } from '../options.js';
import type { TrainSettings } from './options.js';
import type { OptimizerSnapshot } from './training-step.js';

/** Where a run is. Shuffle, binarisation and learning rate follow from `step` and the settings. */
export interface RunPosition {
  step: number;
  /** Sums over the epoch so far. */
  epochNats: number;
  epochImages: number;
  /** Best validation so far. */
  bestNats: number | null;
  /** Of the dataset; computed once. */
  digest: string;
}

const stateSchema = z.strictObject({
  step: z.int().min(0),
  epochNats: z.number(),
  epochImages: z.int().min(0),
  bestNats: z.number().nullable(),
  counters: z.array(z.number()).length(4),
  seed: z.int().min(0),
  batchSize: z.int().min(1),
  protocol: z.string(),
  validation: z.number(),
  dataset: z.string(),
});

/** Settings that decide which image a step sees: a resumed run must have the same. */
function identity(settings: TrainSettings, dataset: string) {
  const { seed, batchSize, protocol } = settings;
  const validation = typeof settings.validation === 'number' ? settings.validation : 0;
  return { seed, batchSize, protocol, validation, dataset };
}

/** SHA-256 over the images' shape and bytes, a piece at a time so that the event loop keeps turning. */
async function digestOf(dataset: ImageBatch): Promise<string> {
  const hash = createHash('sha256');
  hash.update([dataset.count, dataset.height, dataset.width, dataset.channels].join('x'));
  const piece = 1 << 20;
  for (let start = 0; start < dataset.data.length; start += piece) {
    hash.update(dataset.data.subarray(start, start + piece));
    await new Promise(setImmediate);
  }
  return hash.digest('hex').slice(0, 32);
}

/** The checkpoint of a run. */
export async function toCheckpoint(
  config: PixelCnnConfig,
  position: RunPosition,
  snapshot: OptimizerSnapshot,
  settings: TrainSettings,
  dataset: ImageBatch,
): Promise<ModelFile> {
  if (position.digest === '') position.digest = await digestOf(dataset);
  const { digest, ...where } = position;
  const arrays: NamedArrays = new Map();
  for (const moment of ['moment1', 'moment2'] as const) {
    for (const [name, value] of snapshot[moment]) arrays.set(`${moment}.${name}`, value);
  }
  return {
    config,
    imageSize: { height: dataset.height, width: dataset.width },
    parameters: snapshot.parameters,
    average: snapshot.average,
    training: { arrays, state: { ...where, counters: snapshot.counters, ...identity(settings, digest) } },
  };
}

/**
 * What a checkpoint says of the run.
 * @throws PixelCnnError CKPT_TRAINING_STATE, CKPT_MISMATCH when it belongs to another model, dataset or run.
 */
export async function fromCheckpoint(
  file: ModelFile,
  path: string,
  config: PixelCnnConfig,
  settings: TrainSettings,
  dataset: ImageBatch,
): Promise<{ position: RunPosition; snapshot: OptimizerSnapshot }> {
  const parsed = stateSchema.safeParse(file.training?.state);
  check(
    parsed.success,
    'CKPT_TRAINING_STATE',
    () => `${path}: the training state is malformed: ${parsed.error}`,
  );
  for (const [name, value] of Object.entries(config)) {
    const stored = file.config[name as keyof PixelCnnConfig];
    check(
      stored === value,
      'CKPT_MISMATCH',
      () => `${path} is of a model with ${name} ${stored}, this one has ${value}`,
    );
  }
  const digest = await digestOf(dataset);
  for (const [name, value] of Object.entries(identity(settings, digest))) {
    const stored = parsed.data[name as keyof typeof parsed.data];
    check(stored === value, 'CKPT_MISMATCH', () => {
      return `${path} is of a run with ${name} ${stored}, this one has ${value}`;
    });
  }
  const { step, epochNats, epochImages, bestNats, counters } = parsed.data;
  const moment = (prefix: string): NamedArrays => {
    const entries = [...file.training!.arrays].filter(([name]) => name.startsWith(prefix));
    return new Map(entries.map(([name, value]) => [name.slice(prefix.length), value]));
  };
  return {
    position: { step, epochNats, epochImages, bestNats, digest },
    snapshot: {
      parameters: file.parameters,
      average: file.average!,
      moment1: moment('moment1.'),
      moment2: moment('moment2.'),
      counters,
    },
  };
}
