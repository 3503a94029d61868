// Ends an epoch: validates, draws samples, and records both.
import { checkBytes } from '../data/check-array.js';
import type { ImageBatch } from '../data/image-batch.js';
import { type ConditionOptions, conditionField, selectConditions } from '../models/given-condition.js';
import type { Model } from '../models/model.js';
import { type ProgressEvent, twiceASecond } from '../progress-event.js';
import type { SampledImages } from '../sample/draw.js';
import { drawImages } from '../sample/sampler.js';
import type { TrainingImages } from './batches.js';
import { type Evaluation, evaluateImages } from './evaluate.js';
import type { TrainSettings } from './options.js';
import type { RunProgress } from './run-progress.js';
import type { RunSaver } from './run-saver.js';
import type { TrainingRun } from './training-run.js';
import { digestOf } from './training-state.js';

/** The images of a run. */
type EpochImages = Pick<TrainingImages, 'dataset' | 'validation' | 'validationCondition'>;

export class EpochEnd {
  readonly #model: Model;
  readonly #images: EpochImages;
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
    images: EpochImages,
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
    const condition = this.#images.validationCondition;
    const options = { protocol, weights, draws: 1, seed, algorithm, condition, signal, onEvent } as const;
    return evaluateImages(this.#model, images, options);
  }

  #draw(weights: 'raw' | 'ema', signal: AbortSignal): Promise<SampledImages> {
    const { seed, samples: count } = this.#settings;
    const { step } = this.#progress;
    const { height, width } = this.#images.dataset;
    const report = (done: number, of: number) => this.#run.emit({ type: 'sampling', step, done, of });
    const options = { count, height, width, seed, weights, signal, ...this.#conditionsOf(count) };
    return drawImages(this.#model, options, twiceASecond(report));
  }

  /** Returns the conditions to draw with: the classes in turn, or those of the images to validate with. */
  #conditionsOf(count: number): ConditionOptions {
    const { dataset, validation, validationCondition } = this.#images;
    // A map belongs to images of its size.
    const fits = validation?.height === dataset.height && validation.width === dataset.width;
    const given = (fits ? validationCondition : undefined) ?? this.#settings.condition;
    if (given === undefined) return {};
    const { kind, values, perImage } = given;
    const { classes } = this.#model.config.condition!;
    if (kind === 'classes') return { labels: Array.from({ length: count }, (_, i) => i % classes!) };
    const indices = Array.from({ length: count }, (_, i) => i % (values.length / perImage));
    return { [conditionField[kind]]: selectConditions(given, indices).values };
  }

  /**
   * Forgets the best validation if it was measured with other images, weights or protocol, because the losses are
   * then not comparable.
   */
  async #compareWith(images: ImageBatch, measure: string): Promise<void> {
    const { position } = this.#progress;
    this.#validationDigest ??= await digestOf(images, 'validation.data', this.#images.validationCondition);
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
