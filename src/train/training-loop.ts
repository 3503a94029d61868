// Runs the training loop: takes batches, keeps two steps in flight, ends epochs and saves checkpoints.
import type { TrainingImages } from './batches.js';
import { whileChoosing } from './choosing.js';
import type { EpochEnd } from './epoch-end.js';
import { learningRateAt } from './learning-rate.js';
import type { TrainSettings } from './options.js';
import type { RunProgress } from './run-progress.js';
import type { RunSaver } from './run-saver.js';
import type { TrainingRun } from './training-run.js';
import type { StepResult, TrainingStep } from './training-step.js';

/** The objects that the loop works with. */
export interface LoopParts {
  readonly run: TrainingRun;
  readonly settings: TrainSettings;
  readonly images: TrainingImages;
  readonly step: TrainingStep;
  readonly progress: RunProgress;
  readonly epochEnd: EpochEnd;
  /** Undefined in a run without a checkpoint folder. */
  readonly saver: RunSaver | undefined;
  /** Aborted by the caller: by its signal, or by an `onEvent` that throws. */
  readonly signal: AbortSignal;
}

/** A step that was submitted and is not recorded yet. */
interface PendingStep {
  /** Undefined where the run ended before the step could be submitted. */
  readonly result: Promise<StepResult | undefined>;
  readonly learningRate: number;
}

export class TrainingLoop {
  readonly #parts: LoopParts;
  /** Aborted when no further step shall be submitted. */
  readonly #ended: AbortSignal;
  /** Steps in flight, oldest first. */
  readonly #pending: PendingStep[] = [];

  constructor(parts: LoopParts) {
    this.#parts = parts;
    this.#ended = AbortSignal.any([parts.run.stopSignal, parts.signal]);
  }

  async run(): Promise<void> {
    const { run, settings, images, progress, epochEnd, saver, signal } = this.#parts;
    const { checkpointEvery } = settings;
    let saved = progress.step;
    progress.restartClock();
    if (progress.step % images.stepsPerEpoch === 0 && progress.position.epochImages > 0) {
      // The resumed run was saved before its last epoch was validated. This save replaces that checkpoint.
      const best = await epochEnd.run(images.epochOf(progress.step) - 1);
      if (!(await this.#trySave(best))) saved = 0;
    }
    try {
      while (this.#submitted < progress.totalSteps && !run.stopSignal.aborted) {
        signal.throwIfAborted();
        const epoch = images.epochOf(this.#submitted);
        this.#submit();
        const epochEnds = this.#submitted % images.stepsPerEpoch === 0;
        const due = checkpointEvery === 0 ? epochEnds : this.#submitted % checkpointEvery === 0;
        const complete = await this.#drain(epochEnds || due ? 0 : 1);
        if (!complete) continue;
        const best = epochEnds && (await epochEnd.run(epoch));
        if ((due || best) && (await this.#trySave(best))) saved = progress.step;
      }
      await this.#drain(0);
    } finally {
      await Promise.allSettled(this.#pending.map(({ result }) => result));
    }
    if (saved < progress.step) await saver?.saveLast(signal);
    // An `onEvent` may have thrown at an event after the last step.
    run.thrownSignal.throwIfAborted();
  }

  /** Steps submitted in the whole run. */
  get #submitted(): number {
    return this.#parts.progress.step + this.#pending.length;
  }

  #submit(): void {
    const { images, settings, step, progress } = this.#parts;
    const number = this.#submitted;
    const learningRate = learningRateAt(settings, number, progress.totalSteps);
    const hyper = { ...settings, learningRate, emaDecay: emaDecayAt(settings.emaDecay, number) };
    const result = step.run(images.batch(number), hyper, this.#ended);
    // #drain handles a rejection; the empty catch stops Node from reporting it as unhandled before that.
    result.catch(() => undefined);
    this.#pending.push({ result, learningRate });
  }

  /**
   * Waits for the oldest steps and records them until `leave` are in flight. Returns false if one of them was not
   * submitted, because the run ended while the step waited for calls on the model. No step comes after it.
   */
  async #drain(leave: number): Promise<boolean> {
    const { run, step, progress } = this.#parts;
    let complete = true;
    while (this.#pending.length > leave) {
      const { result, learningRate } = this.#pending[0]!;
      const stepped = await whileChoosing(step, result, (choices) =>
        run.emit({ type: 'choosing', step: progress.step, ...choices }),
      );
      this.#pending.shift();
      if (stepped === undefined) {
        complete = false;
      } else {
        progress.recordStep(stepped, learningRate);
      }
    }
    return complete;
  }

  /** Returns whether the run is saved. Without a folder there is nothing to save. */
  async #trySave(best: boolean): Promise<boolean> {
    const { saver, progress } = this.#parts;
    const saved = (await saver?.trySave(best)) ?? true;
    progress.restartClock();
    return saved;
  }
}

/**
 * Returns the decay of the weights' average in step `step`, counted from 0. It is small at first, so that the
 * initial weights do not linger in the average.
 */
function emaDecayAt(emaDecay: number, step: number): number {
  return emaDecay > 0 ? Math.min(emaDecay, (1 + step) / (10 + step)) : 0;
}
