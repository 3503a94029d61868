// Ends an epoch: validates, draws samples, and records both.
import { checkBytes } from '../data/check-bytes.js';
import type { ImageBatch } from '../data/image-batch.js';
import type { Model } from '../models/model.js';
import type { SampledImages } from '../sample/draw.js';
import { drawImages } from '../sample/sampler.js';
import { type Evaluation, evaluateImages } from './evaluate.js';
import type { TrainSettings } from './options.js';
import { type ProgressEvent, twiceASecond } from './progress-event.js';
import type { RunProgress } from './run-progress.js';
import type { RunSaver } from './run-saver.js';
import type { TrainingRun } from './training-run.js';
import { digestOf } from './training-state.js';

export class EpochEnd {
  readonly #model: Model;
  readonly #images: { readonly dataset: ImageBatch; readonly validation: ImageBatch | undefined };
  readonly #settings: TrainSettings;
  readonly #run: TrainingRun;
  readonly #progress: RunProgress;
  readonly #saver: RunSaver | undefined;
  readonly #signal: AbortSignal;
  /** The digest of the validation images, computed once. */
  #validationDigest: string | undefined;

  /** `signal` is the caller's; a run that it aborts ends with its reason. */
  constructor(
    model: Model,
    images: { readonly dataset: ImageBatch; readonly validation: ImageBatch | undefined },
    settings: TrainSettings,
    context: { run: TrainingRun; progress: RunProgress; saver: RunSaver | undefined; signal: AbortSignal },
  ) {
    this.#model = model;
    this.#images = images;
    this.#settings = settings;
    this.#run = context.run;
    this.#progress = context.progress;
    this.#saver = context.saver;
    this.#signal = context.signal;
  }

  /**
   * Validates and draws samples, and returns whether the validation after `epoch` was the best so far. When the
   * run is stopped meanwhile, the epoch stays open: its sums are kept, and a resumed run ends it first.
   */
  async run(epoch: number): Promise<boolean> {
    const { stopSignal } = this.#run;
    const { validation: images } = this.#images;
    const signal = AbortSignal.any([stopSignal, this.#signal]);
    // A resumed run whose earlier part kept no average has none before its first step.
    const weights = this.#settings.emaDecay > 0 && this.#model.holds.includes('ema') ? 'ema' : 'raw';
    let validation: Evaluation | undefined;
    let samples: SampledImages | undefined;
    try {
      if (images !== undefined) validation = await this.#validate(images, weights, signal);
      if (this.#settings.samples > 0) samples = await this.#draw(weights, signal);
    } catch (error) {
      this.#signal.throwIfAborted();
      if (images !== undefined) checkValidation(images);
      if (stopSignal.aborted) return false;
      throw error;
    }
    return this.#progress.recordEpoch(epoch, validation, samples);
  }

  async #validate(images: ImageBatch, weights: 'raw' | 'ema', signal: AbortSignal): Promise<Evaluation> {
    const { seed, algorithm, protocol } = this.#settings;
    const { step } = this.#progress;
    checkValidation(images);
    await this.#compareWith(images, `${weights} ${protocol}`);
    // The end is not reported here, because the event `validation` follows.
    const onEvent = ({ done, of }: ProgressEvent) => {
      if (done < of) this.#run.emit({ type: 'validating', step, done, of });
    };
    const options = { protocol, weights, draws: 1, seed, algorithm, signal, onEvent } as const;
    return evaluateImages(this.#model, images, options);
  }

  #draw(weights: 'raw' | 'ema', signal: AbortSignal): Promise<SampledImages> {
    const { seed, samples: count } = this.#settings;
    const { step } = this.#progress;
    const { height, width } = this.#images.dataset;
    const report = (done: number, of: number) => this.#run.emit({ type: 'sampling', step, done, of });
    return drawImages(this.#model, { count, height, width, seed, weights, signal }, twiceASecond(report));
  }

  /**
   * Forgets the best validation if it was measured with other images, weights or protocol, because the losses are
   * then not comparable.
   */
  async #compareWith(images: ImageBatch, measure: string): Promise<void> {
    const { position } = this.#progress;
    this.#validationDigest ??= await digestOf(images, 'validation.data');
    const bestOf = `${this.#validationDigest} ${measure}`;
    const other = position.bestOf !== undefined && position.bestOf !== bestOf;
    position.bestOf = bestOf;
    if (!other || position.bestNats === null) return;
    position.bestNats = null;
    this.#saver?.forgetBest();
    this.#run.emit({
      type: 'warning',
      step: position.step,
      code: 'OTHER_VALIDATION',
      message:
        'validation is of other images or weights than before, so its losses are not comparable: the best starts anew ' +
        'with this one',
    });
  }
}

/** Throws if the caller has transferred the images to another thread meanwhile. */
function checkValidation({ data }: ImageBatch): void {
  checkBytes(data, 'train: validation.data');
}
