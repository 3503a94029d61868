// Records dynamic binarisation in a program, and makes the inputs that each run of the program needs for it.
import { binarise } from '../ops/random.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** What a batch of images is binarised with. An image's binary pixels follow from the key, the epoch and its index alone. */
export interface Binarisation {
  /** The words of a Philox key. */
  readonly key: readonly [number, number];
  readonly epoch: number;
  /** (N) the index of each image in its dataset. */
  readonly index: Uint32Array;
}

/** Records the binarisation of images of bytes (N, H, W, channels), and the inputs that it needs. */
export function recordBinarisation(r: Recorder, bytes: Tensor): Tensor {
  const index = r.input('index', [bytes.shape[0]!], 'uint32');
  const random = r.input('random', [4], 'uint32');
  return binarise(r, 'binarise', { bytes, index, random });
}

/** Returns the values of the inputs that {@link recordBinarisation} recorded, in their order. */
export function binarisationInputs({ key, epoch, index }: Binarisation): ArrayBufferView[] {
  return [index, Uint32Array.of(...key, epoch, 0)];
}
