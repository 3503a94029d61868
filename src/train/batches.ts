// Decides which images a step sees: all follows from seed, epoch and step, so that a run can be resumed.
import { checkBytes } from '../data/check-array.js';
import { type ImageBatch, selectImages } from '../data/image-batch.js';
import { asBytes } from '../data/levels.js';
import type { PixelCnnConfig } from '../models/config.js';
import { type GivenCondition, selectConditions } from '../models/given-condition.js';
import { permutation, seedKey } from '../random/philox.js';
import { TrainingConditions } from './conditions.js';
import type { TrainSettings } from './options.js';
import type { Batch } from './training-step.js';

/** Epoch number of the permutation that splits off the validation images; no run has that many epochs. */
const splitEpoch = 2 ** 32 - 1;

/**
 * Splits the indices of `count` images into those to train on and those to validate with. `validation` is the
 * share of the latter. The split depends on the seed alone.
 */
export function splitIndices(
  count: number,
  validation: number,
  seed: number,
): { training: Uint32Array; validation: Uint32Array } {
  const held = Math.floor(count * validation);
  if (held === 0)
    return { training: Uint32Array.from({ length: count }, (_, i) => i), validation: new Uint32Array(0) };
  const order = permutation(count, seed, splitEpoch);
  return { training: order.slice(held).sort(), validation: order.slice(0, held).sort() };
}

/** The images of a run: those it trains on, in batches, and those it validates with. */
export class TrainingImages {
  readonly dataset: ImageBatch;
  /** Undefined in a run without validation. */
  readonly validation: ImageBatch | undefined;
  /** The condition of the validation images, for a model with one. */
  readonly validationCondition: GivenCondition | undefined;
  readonly stepsPerEpoch: number;
  /** Indices into the dataset. */
  readonly #training: Uint32Array;
  readonly #batchSize: number;
  readonly #seed: number;
  readonly #levels: number;
  readonly #conditions: TrainingConditions | undefined;
  /** The training indices in the order of the epoch `#shuffledEpoch`. */
  #shuffled: Uint32Array = new Uint32Array(0);
  #shuffledEpoch = -1;

  constructor(dataset: ImageBatch, config: PixelCnnConfig, settings: TrainSettings) {
    const { batchSize, seed, validation, condition } = settings;
    const split = splitIndices(dataset.count, validation.share, seed);
    const heldOut = split.validation.length > 0 ? selectImages(dataset, split.validation) : undefined;
    this.dataset = dataset;
    this.validation = validation.images ?? heldOut;
    this.validationCondition =
      validation.condition ?? (heldOut && condition && selectConditions(condition, split.validation));
    this.#conditions = condition && new TrainingConditions(condition, config, dataset, settings);
    this.stepsPerEpoch = Math.ceil(split.training.length / batchSize);
    this.#training = split.training;
    this.#batchSize = batchSize;
    this.#seed = seed;
    this.#levels = config.levels;
  }

  /** Returns the epoch that a step belongs to; both count from 0. */
  epochOf(step: number): number {
    return Math.floor(step / this.stepsPerEpoch);
  }

  /** Returns the batch of a step, counted from 0. The last batch of an epoch may be smaller than the others. */
  batch(step: number): Batch {
    const epoch = this.epochOf(step);
    if (epoch !== this.#shuffledEpoch) {
      this.#shuffled = shuffledIndices(this.#training, this.#seed, epoch);
      this.#shuffledEpoch = epoch;
    }
    const first = (step % this.stepsPerEpoch) * this.#batchSize;
    const index = this.#shuffled.slice(first, first + this.#batchSize);
    // The dataset is too large to copy, so the caller may have transferred it to another thread meanwhile.
    checkBytes(this.dataset.data, 'train: dataset.data');
    const bytes = asBytes(gatherValues(this.dataset, index), this.dataset.values, this.#levels);
    const binarisation = { key: seedKey(this.#seed), epoch, index };
    return { bytes, count: index.length, binarisation, condition: this.#conditions?.of(index, epoch) };
  }
}

/** Returns the training indices in the order of one epoch. */
function shuffledIndices(training: Uint32Array, seed: number, epoch: number): Uint32Array {
  return permutation(training.length, seed, epoch).map((i) => training[i]!);
}

/** Copies the bytes, or levels, of the images at `indices`, one image after the other. */
function gatherValues(images: ImageBatch, indices: Uint32Array): Uint8Array {
  const size = images.height * images.width * images.channels;
  const values = new Uint8Array(indices.length * size);
  indices.forEach((index, i) => {
    values.set(images.data.subarray(index * size, (index + 1) * size), i * size);
  });
  return values;
}
