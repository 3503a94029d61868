// Handles the signals that end `pixelcnn train`: the first saves and ends the run, the next ends a wait or the process.
import { constants } from 'node:os';
import { type FullDiskError, saveOrWait } from '../checkpoint/full-disk.js';
import type { TrainingRun } from '../train/training-run.js';
import { Interrupted } from './common.js';

/** A second signal within so many milliseconds counts as part of the first. */
const repeatInterval = 500;

/** Called to inform the user of what a signal does. */
export interface StopWords {
  /** The first signal ends the run. */
  stopping(name: string): void;
  /** A signal ends the wait for space on a full disk. */
  givingUp(name: string): void;
  /** The process ends now. */
  exiting(name: string): void;
}

export class StopRequest {
  readonly #controller = new AbortController();
  // SIGHUP comes when a terminal is closed or a connection is lost. Batch systems can be set to send SIGUSR1 or
  // SIGUSR2 before they end a job; Windows knows neither.
  readonly #names = [
    'SIGINT',
    'SIGTERM',
    'SIGHUP',
    ...(process.platform === 'win32' ? [] : (['SIGUSR1', 'SIGUSR2'] as const)),
  ] as const;
  #handler: ((name: NodeJS.Signals) => void) | undefined;
  #received: NodeJS.Signals | undefined;
  #receivedAt = 0;
  /** Ends the wait of {@link saveOrWait}; undefined while it does not wait. */
  #wait: AbortController | undefined;

  attach(run: TrainingRun, words: StopWords): void {
    this.#handler = (name) => this.#handle(name, run, words);
    for (const name of this.#names) process.on(name, this.#handler);
  }

  detach(): void {
    if (this.#handler === undefined) return;
    for (const name of this.#names) process.off(name, this.#handler);
  }

  /** Saves. On a full disk it waits for space until the next signal, and calls `report` with the error. */
  async saveOrWait<Result>(
    save: () => Promise<Result>,
    report: (error: FullDiskError) => void,
  ): Promise<Result> {
    const wait = new AbortController();
    try {
      return await saveOrWait(save, {
        signal: wait.signal,
        report: (error) => {
          this.#wait = wait;
          report(error);
        },
      });
    } finally {
      this.#wait = undefined;
    }
  }

  /** Aborted by the first signal, for work after training. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get exitCode(): number {
    return this.#received === undefined ? 0 : 128 + constants.signals[this.#received];
  }

  #handle(name: NodeJS.Signals, run: TrainingRun, words: StopWords): void {
    const now = performance.now();
    const again = this.#received !== undefined;
    // Under npx one Ctrl-C arrives twice: from the terminal and from npm.
    if (again && now - this.#receivedAt < repeatInterval) return;
    const waiting = this.#wait !== undefined || run.waitsForDisk;
    // A hangup comes from both the terminal and the shell, and no user is left who asks to end sooner.
    if (name === 'SIGHUP' && (again || waiting)) {
      this.#received ??= name;
      return;
    }
    this.#received ??= name;
    this.#receivedAt = now;
    if (waiting) {
      words.givingUp(name);
    } else if (again) {
      words.exiting(name);
      process.exit(128 + constants.signals[name]);
    } else {
      words.stopping(name);
    }
    run.stop();
    this.#wait?.abort();
    this.#controller.abort(new Interrupted(name));
  }
}
