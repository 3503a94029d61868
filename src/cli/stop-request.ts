// The signals that end `pixelcnn train`: the first saves and ends the run, the next ends a wait or the process.
import { constants } from 'node:os';
import { type FullDiskError, saveOrWait } from '../checkpoint/full-disk.js';
import type { TrainingRun } from '../train/training-run.js';
import { Interrupted } from './common.js';

/** Milliseconds in which a second signal counts as the first. */
const repeatInterval = 500;

/** What is said about signals. */
export interface StopWords {
  /** The first signal has come. */
  stopping(name: string): void;
  /** A signal has ended the waiting for space on a full disk. */
  givingUp(name: string): void;
  /** The process ends now. */
  exiting(name: string): void;
}

export class StopRequest {
  readonly #controller = new AbortController();
  // SIGHUP comes from a terminal that is closed or a connection that is lost. SIGUSR1 or SIGUSR2 is what batch systems
  // are told to send before they end a job; Windows knows neither.
  readonly #names = [
    'SIGINT',
    'SIGTERM',
    'SIGHUP',
    ...(process.platform === 'win32' ? [] : (['SIGUSR1', 'SIGUSR2'] as const)),
  ] as const;
  #handler: ((name: NodeJS.Signals) => void) | undefined;
  #received: NodeJS.Signals | undefined;
  #receivedAt = 0;
  /** Ends the waiting of {@link saveOrWait}. */
  #wait: AbortController | undefined;

  attach(run: TrainingRun, words: StopWords): void {
    this.#handler = (name) => this.#handle(name, run, words);
    for (const name of this.#names) process.on(name, this.#handler);
  }

  detach(): void {
    if (this.#handler === undefined) return;
    for (const name of this.#names) process.off(name, this.#handler);
  }

  /** Saves; a full disk is waited for until the next signal. */
  async saveOrWait<Result>(
    save: () => Promise<Result>,
    tell: (error: FullDiskError) => void,
  ): Promise<Result> {
    const wait = new AbortController();
    try {
      return await saveOrWait(save, {
        signal: wait.signal,
        tell: (error) => {
          this.#wait = wait;
          tell(error);
        },
      });
    } finally {
      this.#wait = undefined;
    }
  }

  /** Aborts what comes after training. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get exitCode(): number {
    return this.#received === undefined ? 0 : 128 + constants.signals[this.#received];
  }

  #handle(name: NodeJS.Signals, run: TrainingRun, words: StopWords): void {
    const now = performance.now();
    const again = this.#received !== undefined;
    // Under npx one Ctrl-C comes twice: from the terminal and from npm.
    if (again && now - this.#receivedAt < repeatInterval) return;
    const waiting = this.#wait !== undefined || run.waitsForDisk;
    // Terminal and shell both tell of a hangup, and nobody is there any more who is in a hurry.
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
