// Training progress as a person follows it: one live line on a terminal, else a line every few seconds.
import type { ChoosingEvent, StepEvent } from '../train/events.js';
import { duration, type Terminal, thousands } from './terminal.js';

/** Milliseconds between lines when stderr is not a terminal. */
const lineInterval = 5000;
/** Seconds over which the rate is smoothed, and steps over which the loss is: it must not depend on the clock. */
const smoothing = { seconds: 5, steps: 50 };

/** Shows how far something is: in place on a terminal, else a line every few seconds. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #lineAt = Number.NEGATIVE_INFINITY;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** The last line is always shown. */
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

/** Shows how far `what` is: `evaluating: 1,200 of 10,000 images  12%  40 s left`. */
export function countedProgress(line: ProgressLine, what: string, unit: string) {
  // Its rate is that since its first picture: what came before includes preparations.
  let first: { at: number; done: number } | undefined;
  return ({ done, of }: { done: number; of: number }): void => {
    if (done === of) return; // the result comes next
    const at = performance.now();
    if (first === undefined || done < first.done) first = { at, done };
    const left = ((at - first.at) / 1000) * ((of - done) / (done - first.done));
    const share = Math.floor((100 * done) / of);
    const rest = Number.isFinite(left) ? `  ${duration(left)} left` : '';
    line.show(`${what}: ${thousands(done)} of ${thousands(of)} ${unit}  ${share}%${rest}`);
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
    // The first step of a process also compiles its program.
    if (this.#warm) this.#secondsPerImage.add(secondsPerImage, weight);
    this.#warm = true;
    if (!event.skipped) this.#loss.add(event.bitsPerDim, 1 / smoothing.steps);
    if (event.skipped) this.#terminal.note(`step ${event.step}: gradient not finite, skipped`, 'yellow');
    this.line.show(this.#textOf(event), event.step === event.totalSteps);
  }

  /** The first step takes longer, and why. */
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

/** Epochs of the whole run, the last of which may end early. */
export function epochsOf({ totalSteps, stepsPerEpoch }: StepEvent): number {
  return Math.ceil(totalSteps / stepsPerEpoch);
}

/** A moving average without the pull of a start value. */
class MovingAverage {
  #sum = 0;
  #weight = 0;

  /** `share` is the weight of this value in units of the smoothing. */
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
