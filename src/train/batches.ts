// Which images a step sees: everything follows from (seed, epoch, position), nothing from a generator's state.
import type { ImageBatch } from '../data/image-batch.js';
import { permutation } from '../random/philox.js';

/** Epoch number that the validation split's permutation uses; no run reaches it. */
const splitEpoch = 2 ** 32 - 1;

/** Indices of the images to train on and of those held out: `validation` of them, a function of the seed. */
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

/** Batch `position` of an epoch: dataset indices in the epoch's shuffled order; the last batch may be smaller. */
export function batchIndices(shuffled: Uint32Array, position: number, batchSize: number): Uint32Array {
  return shuffled.slice(position * batchSize, (position + 1) * batchSize);
}

/** The training indices in the order of one epoch. */
export function shuffledIndices(training: Uint32Array, seed: number, epoch: number): Uint32Array {
  return permutation(training.length, seed, epoch).map((i) => training[i]!);
}

/** The bytes, or levels, of the images at `indices`, one after the other. */
export function gatherValues(images: ImageBatch, indices: Uint32Array): Uint8Array {
  const size = images.height * images.width * images.channels;
  const bytes = new Uint8Array(indices.length * size);
  indices.forEach((index, i) => {
    bytes.set(images.data.subarray(index * size, (index + 1) * size), i * size);
  });
  return bytes;
}
