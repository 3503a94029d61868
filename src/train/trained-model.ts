// Keeps what a model says about its training (image size, classes, step …) true to its weights while a run trains it.
import type { ImageBatch } from '../data/image-batch.js';
import type { Model } from '../models/model.js';
import type { TrainSettings } from './options.js';

/** A model while a run trains it. Its `step` is undefined until the run ends, because each step makes it outdated. */
export class TrainedModel {
  readonly #model: Model;
  readonly #dataset: ImageBatch;
  readonly #settings: Pick<TrainSettings, 'classNames' | 'protocol'>;
  #described = false;
  /** The last version of the weights whose number of training steps is known, and that number. */
  #known: { version: number; step: number | undefined };

  constructor(model: Model, dataset: ImageBatch, settings: Pick<TrainSettings, 'classNames' | 'protocol'>) {
    this.#model = model;
    this.#dataset = dataset;
    this.#settings = settings;
    this.#known = { version: model.version, step: model.step };
  }

  /** Begins the run: from here on {@link release} must be called at its end. */
  begin(): void {
    this.#model.step = undefined;
  }

  /** Notes that the weights become weights of this dataset: its first step is submitted, or a checkpoint restored. */
  describe(): void {
    if (this.#described) return;
    this.#described = true;
    const { height, width, values = 'bytes' } = this.#dataset;
    this.#model.imageSize = { height, width };
    this.#model.values = values;
    this.#model.classNames = this.#settings.classNames ?? this.#model.classNames;
    this.#model.protocol = this.#settings.protocol;
  }

  /** Notes that the weights are those after `step` steps, and that no further step has been submitted. */
  isAt(step: number): void {
    this.#known = { version: this.#model.version, step };
  }

  /** Sets the model's step when the run ends, if its weights are still those of that step. */
  release(): void {
    const { version, step } = this.#known;
    this.#model.step = this.#model.version === version ? step : undefined;
  }
}
