// Decides which condition each image of a batch is trained with, and which images are trained without theirs.
import { conditionOf } from '../models/condition.js';
import type { PixelCnnConfig } from '../models/config.js';
import {
  conditionSlice,
  type GivenCondition,
  noCondition,
  selectConditions,
} from '../models/given-condition.js';
import { philox, seedKey, uniform } from '../random/philox.js';
import type { TrainSettings } from './options.js';

/** The last counter word of Philox for this use of the seed, so that it shares no random numbers with others. */
const dropoutStream = 5;

/** The conditions of a dataset's images in training. */
export class TrainingConditions {
  readonly #given: GivenCondition;
  /** No condition, for one image. */
  readonly #none: GivenCondition;
  readonly #dropout: number;
  readonly #key: readonly [number, number];

  constructor(
    given: GivenCondition,
    config: PixelCnnConfig,
    images: { readonly height: number; readonly width: number },
    { conditionDropout, seed }: Pick<TrainSettings, 'conditionDropout' | 'seed'>,
  ) {
    this.#given = given;
    this.#none = noCondition(conditionOf(config)!, 1, images);
    this.#dropout = conditionDropout;
    this.#key = seedKey(seed);
  }

  /**
   * Returns the conditions of the images at `index` in one epoch. Which of them are left out follows from seed, epoch and
   * the index of the image alone.
   */
  of(index: Uint32Array, epoch: number): Uint32Array | Float32Array {
    const { values, perImage } = selectConditions(this.#given, index);
    if (this.#dropout === 0) return values;
    for (const [i, image] of index.entries()) {
      const [word] = philox([image, 0, epoch, dropoutStream], this.#key) as unknown as [number];
      if (uniform(word) < this.#dropout) values.set(conditionSlice(this.#none, 0, 1), i * perImage);
    }
    return values;
  }
}
