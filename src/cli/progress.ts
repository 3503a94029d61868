// Shows progress to the user: one line that changes in place on a terminal, else a line every few seconds.
import type { ChoosingEvent, StepEvent } from '../train/events.js';
import { duration, type Terminal, thousands } from './terminal.js';

/** Milliseconds between lines when stderr is not a terminal. */
const lineInterval = 5000;
/** The rate is smoothed over seconds, but the loss over steps, so that it does not depend on the clock. */
const smoothing = { seconds: 5, steps: 50 };

/** A line of progress: it changes in place on a terminal; elsewhere a line is printed every few seconds. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #lineAt = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Shows `line`. On a stream that is no terminal, only the last line is certain to be shown. */
  show(line: string, last = false): void {
    if (this.#terminal.interactive) {
      this.#terminal.live(line);
      return;
    }
    const now = performance.now();
    if (now - this.#lineAt < lineInterval && !last) return;
    this.#lineAt = now;
    this.#terminal.note(line);
  }
}

/** Shows how far `task` is: `evaluating: 1,200 of 10,000 images  12%  40 s left`. */
export function countedProgress(line: ProgressLine, task: string, unit: string) {
  // The rate counts from the first call, because the time before it includes preparations.
  let first: { at: number; done: number } | undefined;
  return ({ done, of }: { done: number; of: number }): void => {
    if (done === of) return; // the result is printed next
    const at = performance.now();
    if (first === undefined || done < first.done) first = { at, done };
    const left = ((at - first.at) / 1000) * ((of - done) / (done - first.done));
    const share = Math.floor((100 * done) / of);
    const rest = Number.isFinite(left) ? `  ${duration(left)} left` : '';
    line.show(`${task}: ${thousands(done)} of ${thousands(of)} ${unit}  ${share}%${rest}`);
  };
}

export class TrainingProgress {
  readonly line: ProgressLine;
  readonly #terminal: Terminal;
  readonly #batchSize: number;
  readonly #loss = new MovingAverage();
  readonly #secondsPerImage = new MovingAverage();
  #warm = false;

  constructor(terminal: Terminal, batchSize: number) {
    this.#terminal = terminal;
    this.line = new ProgressLine(terminal);
    this.#batchSize = batchSize;
  }

  /** Images per second, smoothed. */
  get imagesPerSecond(): number {
    return 1 / this.#secondsPerImage.value;
  }

  step(event: StepEvent): void {
    const secondsPerImage = 1 / event.imagesPerSecond;
    const weight = (secondsPerImage * this.#batchSize) / smoothing.seconds;
    // The first step of a process is left out, because it also compiles its program.
    if (this.#warm) this.#secondsPerImage.add(secondsPerImage, weight);
    this.#warm = true;
    if (!event.skipped) this.#loss.add(event.bitsPerDim, 1 / smoothing.steps);
    if (event.skipped) this.#terminal.note(`step ${event.step}: gradient not finite, skipped`, 'yellow');
    this.line.show(this.#textOf(event), event.step === event.totalSteps);
  }

  /** Shows why the first step takes longer. */
  choosing({ made, of }: ChoosingEvent): void {
    this.line.show(`choosing convolutions, ${made} of ${of}`);
  }

  #textOf(event: StepEvent): string {
    const left = (event.totalSteps - event.step) * this.#batchSize * this.#secondsPerImage.value;
    const share = Math.floor((100 * event.step) / event.totalSteps);
    return [
      `step ${event.step}/${event.totalSteps} ${share}%`,
      `epoch ${event.epoch + 1}/${epochsOf(event)}`,
      `${this.#loss.value.toFixed(4)} bits/dim, smoothed`,
      ...(Number.isFinite(left) ? [`${thousands(this.imagesPerSecond)} images/s`] : []),
      ...(left > 0 ? [`${left < 1 ? '<1 s' : duration(left)} left`] : []),
      `lr ${event.learningRate.toPrecision(3)}`,
    ].join('  ');
  }
}

/** Returns the number of epochs of the whole run, the last of which may be incomplete. */
export function epochsOf({ totalSteps, stepsPerEpoch }: StepEvent): number {
  return Math.ceil(totalSteps / stepsPerEpoch);
}

/** An exponential moving average that has no bias towards a start value. */
class MovingAverage {
  #sum = 0;
  #weight = 0;

  /** Adds a value, which counts as `share` of the smoothing length. */
  add(value: number, share: number): void {
    if (!Number.isFinite(value) || !Number.isFinite(share)) return;
    const keep = Math.exp(-share);
    this.#sum = keep * this.#sum + (1 - keep) * value;
    this.#weight = keep * this.#weight + (1 - keep);
  }

  get value(): number {
    return this.#sum / this.#weight;
  }
}
