// Shows a training run to the user: its events, what goes wrong, and what a signal does.
import { join, relative } from 'node:path';
import type { FullDiskError } from '../checkpoint/full-disk.js';
import { bestFile } from '../train/checkpoint-folder.js';
import type { CheckpointEvent, NumericsChangedEvent, TrainEvent } from '../train/events.js';
import { numericsChangeText } from '../train/numerics.js';
import type { StepRange } from './metrics.js';
import { stderr, stdout } from './output-stream.js';
import { countedProgress, epochsOf, TrainingProgress } from './progress.js';
import { metricsFile, type RunFolder } from './run-folder.js';
import type { StopWords } from './stop-request.js';
import type { Terminal } from './terminal.js';
import { Troubles } from './troubles.js';

/** A failure to save this file is reported separately, because the run is saved without it. */
const secondFile = 'the second file of the best checkpoint';

export class TrainingReport {
  readonly #folder: RunFolder;
  readonly #terminal: Terminal;
  readonly #reword: (text: string) => string;
  readonly #progress: TrainingProgress;
  readonly #validating: ReturnType<typeof countedProgress>;
  readonly #sampling: ReturnType<typeof countedProgress>;
  readonly #troubles: Troubles;
  /** The last step, and the last step that a checkpoint holds. */
  #step = 0;
  #saved = 0;
  #lostOutputShown = false;
  /** The epochs of the whole run. Undefined before the first step. */
  #epochs: number | undefined;
  /** Whether the run has ended and only its files are to be written. */
  trained = false;

  /** `reword` replaces the library's names of options by flags. */
  constructor(folder: RunFolder, terminal: Terminal, batchSize: number, reword: (text: string) => string) {
    this.#folder = folder;
    this.#terminal = terminal;
    this.#reword = reword;
    this.#progress = new TrainingProgress(terminal, batchSize);
    this.#validating = countedProgress(this.#progress.line, 'validating', 'images');
    this.#sampling = countedProgress(this.#progress.line, 'drawing samples', 'steps');
    this.#troubles = new Troubles(terminal);
  }

  /** Images per second, smoothed. NaN before the second step. */
  get imagesPerSecond(): number {
    return this.#progress.imagesPerSecond;
  }

  show(event: TrainEvent): void {
    const terminal = this.#terminal;
    switch (event.type) {
      case 'step':
        this.#step = event.step;
        this.#epochs = epochsOf(event);
        this.#progress.step(event);
        if (event.step % event.stepsPerEpoch === 0) terminal.live('validating and sampling');
        break;
      case 'epoch':
        terminal.note(`${this.#nameOf(event)}  training ${lossText(event)}`);
        break;
      case 'validation': {
        const best = event.best ? ', best so far' : '';
        const given = event.given === null ? '' : `, given ${event.given}`;
        terminal.note(
          `${this.#nameOf(event)}  validation ${lossText(event)}, ${event.weights} weights${given}${best}`,
        );
        break;
      }
      case 'resume':
        for (const { path, reason } of event.skipped)
          terminal.note(`skipped checkpoint ${path}: ${reason}`, 'yellow');
        this.#step = event.step;
        this.#saved = event.step;
        terminal.note(`resumed at step ${event.step} from ${event.path}`);
        break;
      case 'numericsChanged':
        terminal.note(numericsLine(event), 'yellow');
        break;
      case 'checkpointFailed':
        // The best checkpoint may hold this step already.
        this.notSaved(this.#saved === event.step ? secondFile : 'checkpoint', event);
        break;
      case 'checkpoint':
        this.#saved = event.step;
        this.savedAgain('checkpoint');
        if (!event.path.endsWith(bestFile)) this.savedAgain(secondFile);
        this.#showRemoved(event);
        break;
      case 'waitingForDisk':
        this.waitingForDisk(event);
        break;
      case 'validating':
        this.#validating(event);
        break;
      case 'sampling':
        this.#sampling(event);
        break;
      case 'choosing':
        this.#progress.choosing(event);
        break;
      case 'warning':
        terminal.note(this.#reword(event.message), 'yellow');
        break;
      case 'sample':
        break;
    }
  }

  readonly stopWords: StopWords = {
    stopping: (name) => {
      const doing = this.trained ? 'writing the summary, then ending' : 'finishing the step and saving';
      this.#terminal.note(`${name}: ${doing}; again to exit now`);
    },
    givingUp: (name) => this.#terminal.problem(`${name}: one last try, then no more waiting for space`),
    exiting: (name) => {
      const [first, last] = [this.#saved + 1, this.#step];
      const kept = last === 0 ? 'nothing was saved yet' : `step ${last} is saved`;
      const lost = first > last ? kept : `steps ${first} to ${last} are lost`;
      this.#terminal.problem(`${name} again: ended at once; ${lost}`);
      this.missingMetrics();
    },
  };

  waitingForDisk({ message }: Pick<FullDiskError, 'message'>): void {
    this.#terminal.problem(`waiting for space, 10 minutes at most, Ctrl-C gives up: ${message}`);
  }

  /** Reports that `subject` could not be saved, and that the run goes on without it. */
  notSaved(subject: string, { code, message }: { code: string; message: string }): void {
    this.#troubles.report(subject, code, `${subject} not saved, training goes on: ${message}`);
  }

  savedAgain(subject: string): void {
    this.#troubles.solved(subject, `${subject} saved again`);
  }

  /**
   * Reports once that output does not reach its reader any more. If stderr fails, only the exit code can say
   * so.
   */
  lostOutput(): void {
    const loss = stdout.loss ?? stderr.loss;
    if (loss === undefined || this.#lostOutputShown) return;
    this.#lostOutputShown = true;
    const { path, missingMetrics } = this.#folder;
    const file = join(path, metricsFile);
    const rest = missingMetrics === undefined ? `${file} has every line` : this.#lackOf(missingMetrics);
    this.#terminal.problem(`${loss.sentence}; training goes on, ${rest}`);
  }

  /** Reports steps before the one that the run resumes at whose metrics are missing. */
  gap(steps: StepRange): void {
    this.#terminal.note(this.#lackOf(steps), 'yellow');
  }

  /** Reports at the end which metrics could not be written, if any. */
  missingMetrics(): void {
    const { missingMetrics } = this.#folder;
    if (missingMetrics !== undefined)
      this.#terminal.problem(`${this.#lackOf(missingMetrics)}: they could not be written`);
  }

  #lackOf({ first, last }: StepRange): string {
    const steps = first === last ? `step ${first}` : `steps ${first} to ${last}`;
    return `${join(this.#folder.path, metricsFile)} lacks lines of ${steps}`;
  }

  #showRemoved({ removed }: CheckpointEvent): void {
    if (removed.length === 0) return;
    const names = removed.map((path) => relative(this.#folder.path, path)).join(' and ');
    const sentence = `the disk is full: ${names} had to make room for a new checkpoint, fewer are kept`;
    this.#troubles.report('fewer checkpoints', 'removed', sentence);
  }

  #nameOf({ epoch }: { epoch: number }): string {
    return this.#epochs === undefined ? `epoch ${epoch + 1}` : `epoch ${epoch + 1}/${this.#epochs}`;
  }
}

function numericsLine({ from, to }: NumericsChangedEvent): string {
  const what =
    from === null
      ? 'the checkpoint does not say with which kernels, precision and algorithm it was computed'
      : `computed otherwise than before: ${numericsChangeText(from, to)}`;
  return `${what}; the run goes on correctly, but perhaps not to the same bits`;
}

function lossText({ nats, bitsPerDim }: { nats: number; bitsPerDim: number }): string {
  return `${bitsPerDim.toFixed(4)} bits/dim (${nats.toFixed(2)} nats)`;
}
