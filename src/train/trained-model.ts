// Keeps what a model says about its training (image size, values, step) true to its weights while a run trains it.
import type { ImageBatch } from '../data/image-batch.js';
import type { Model } from '../models/model.js';

/** A model during a run. Until the run ends it names no step, because the step in progress would make it a wrong one. */
export class TrainedModel {
  readonly #model: Model;
  readonly #dataset: ImageBatch;
  #described = false;
  /** A version of the weights, and the number of steps that they had been trained for. */
  #known: { version: number; step: number | undefined };

  constructor(model: Model, dataset: ImageBatch) {
    this.#model = model;
    this.#dataset = dataset;
    this.#known = { version: model.version, step: model.step };
    model.step = undefined;
  }

  /** Notes that the weights have been trained on the dataset: a step has run, or a checkpoint was restored. */
  describe(): void {
    if (this.#described) return;
    this.#described = true;
    const { height, width, values = 'bytes' } = this.#dataset;
    this.#model.imageSize = { height, width };
    this.#model.values = values;
  }

  /** Notes that the weights are those after `step` steps, and that no further step has been submitted. */
  isAt(step: number): void {
    this.#known = { version: this.#model.version, step };
  }

  /** Ends the run. The model names its step again if its weights are still those of that step. */
  release(): void {
    const { version, step } = this.#known;
    this.#model.step = this.#model.version === version ? step : undefined;
  }
}
