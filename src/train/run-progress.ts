// Keeps account of a run (steps, epochs, skips, latest losses) and reports each step and epoch as an event.
import { PixelCnnError } from '../errors.js';
import type { SampledImages } from '../sample/draw.js';
import type { TrainingImages } from './batches.js';
import type { Evaluation } from './evaluate.js';
import type { TrainEvent, TrainingLoss, TrainSummary, ValidationEvent } from './events.js';
import type { TrainSettings } from './options.js';
import type { RunPosition } from './training-state.js';
import type { StepResult } from './training-step.js';

export class RunProgress {
  readonly position: RunPosition;
  readonly totalSteps: number;
  readonly #images: TrainingImages;
  readonly #settings: TrainSettings;
  readonly #emit: (event: TrainEvent) => void;
  readonly #dimensions: number;
  #lastLoss: { lossOf: TrainSummary['lossOf']; loss: TrainingLoss };
  #lastValidation: ValidationEvent | undefined;
  /** Steps skipped in the whole run. */
  #skipped: number;
  /** Steps skipped since the last one that was taken. */
  #consecutiveSkips = 0;
  #lastTime = performance.now();

  /** `skipped` are the steps that the run skipped before `position`. */
  constructor(
    { position, skipped }: { position: RunPosition; skipped: number },
    images: TrainingImages,
    settings: TrainSettings,
    emit: (event: TrainEvent) => void,
  ) {
    this.position = position;
    this.#skipped = skipped;
    this.#images = images;
    this.#settings = settings;
    this.#emit = emit;
    const { steps, epochs = steps === undefined ? 1 : Number.POSITIVE_INFINITY } = settings;
    this.totalSteps = Math.min(epochs * images.stepsPerEpoch, steps ?? Number.POSITIVE_INFINITY);
    const { height, width, channels } = images.dataset;
    this.#dimensions = height * width * channels;
    this.#lastLoss = { lossOf: 'none', loss: this.#lossOf(Number.NaN) };
  }

  /** Steps done. */
  get step(): number {
    return this.position.step;
  }

  /** Excludes the time since the last step, e.g. that of a checkpoint, from the images per second. */
  restartClock(): void {
    this.#lastTime = performance.now();
  }

  /** Records a step that has run. @throws PixelCnnError ERR_DIVERGED after too many skipped steps in a row. */
  recordStep(result: StepResult, learningRate: number): void {
    const { position } = this;
    const epoch = this.#images.epochOf(position.step);
    const skipped = result.skipped > this.#skipped;
    this.#skipped = result.skipped;
    this.#consecutiveSkips = skipped ? this.#consecutiveSkips + 1 : 0;
    const sum = result.nats.reduce((total, value) => total + value, 0);
    position.step += 1;
    if (!skipped) {
      position.epochNats += sum;
      position.epochImages += result.nats.length;
    }
    const loss = this.#lossOf(sum / result.nats.length);
    if (this.#lastLoss.lossOf !== 'epoch') this.#lastLoss = { lossOf: 'step', loss };
    const now = performance.now();
    const imagesPerSecond = (1000 * result.nats.length) / (now - this.#lastTime);
    this.#lastTime = now;
    this.#emit({
      type: 'step',
      step: position.step,
      epoch,
      ...loss,
      learningRate,
      gradientNorm: result.gradientNorm,
      skipped,
      imagesPerSecond,
      stepsPerEpoch: this.#images.stepsPerEpoch,
      totalSteps: this.totalSteps,
    });
    if (this.#consecutiveSkips >= this.#settings.maxSkippedSteps) {
      throw new PixelCnnError(
        'ERR_DIVERGED',
        `train: the gradient was not finite in ${this.#consecutiveSkips} steps in a row, the last being step ${position.step}`,
        { remedy: 'lower `learningRate`, set `maxGradientNorm`, and resume from the last checkpoint' },
      );
    }
  }

  /** Records the end of an epoch. Returns whether its validation is the best so far. */
  recordEpoch(
    epoch: number,
    validation: Evaluation | undefined,
    samples: SampledImages | undefined,
  ): boolean {
    const { position } = this;
    const { step } = position;
    const loss = this.#lossOf(position.epochNats / position.epochImages);
    this.#lastLoss = { lossOf: 'epoch', loss };
    this.#emit({ type: 'epoch', epoch, step, ...loss });
    const best =
      validation !== undefined && (position.bestNats === null || validation.nats < position.bestNats);
    if (validation !== undefined) {
      if (best) position.bestNats = validation.nats;
      // There may be very many classes, and every event is a line of the metrics.
      const { natsPerDraw: _, perClass: __, ...labelled } = validation;
      this.#lastValidation = { type: 'validation', epoch, step, ...labelled, split: 'validation', best };
      this.#emit(this.#lastValidation);
    }
    if (samples !== undefined) this.#emit({ type: 'sample', epoch, step, images: samples });
    position.epochNats = 0;
    position.epochImages = 0;
    this.restartClock();
    return best;
  }

  /** Returns the summary of the run. Programs print it, so its fields keep their order. */
  summary(end: Pick<TrainSummary, 'seconds' | 'stopped' | 'checkpoint'>): TrainSummary {
    return {
      steps: this.step,
      epochs: this.#images.epochOf(this.step),
      lossOf: this.#lastLoss.lossOf,
      ...this.#lastLoss.loss,
      skippedSteps: this.#skipped,
      seconds: end.seconds,
      stopped: end.stopped,
      validation: this.#lastValidation,
      checkpoint: end.checkpoint,
    };
  }

  #lossOf(nats: number): TrainingLoss {
    const { protocol } = this.#settings;
    return {
      nats,
      bitsPerDim: nats / (this.#dimensions * Math.LN2),
      split: 'train',
      weights: 'raw',
      protocol,
    };
  }
}
