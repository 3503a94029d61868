// A bounded queue: a few requests run, a fixed number waits in order, and the rest are refused at once.
import { HttpError } from './http-error.js';

export interface QueueLimits {
  /** Requests that run at the same time. */
  readonly running: number;
  /** Requests that wait for a place. */
  readonly waiting: number;
}

export class BoundedQueue {
  readonly #limits: QueueLimits;
  /** What the waiting requests are woken with, first come first served. */
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Moving average of the time a place is held. */
  #meanMilliseconds = 100;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Waits for a place to run; disposing the result gives it to the next.
   * @throws HttpError 429 with Retry-After when too many wait already; the signal's reason when aborted while waiting.
   */
  async enter(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#running < this.#limits.running) {
      this.#running += 1;
      return this.#place();
    }
    if (this.#waiting.length >= this.#limits.waiting) {
      throw new HttpError(
        429,
        'ERR_QUEUE_FULL',
        `${this.#running} requests are running and ${this.#waiting.length} are waiting; try again later`,
        this.#secondsUntilFree(),
      );
    }
    await new Promise<void>((resolve, reject) => {
      const wake = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(wake);
    });
    return this.#place();
  }

  #place(): Disposable {
    const start = performance.now();
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#meanMilliseconds += 0.1 * (performance.now() - start - this.#meanMilliseconds);
        const next = this.#waiting.shift();
        // The place goes to the next one without ever being free.
        if (next === undefined) this.#running -= 1;
        else next();
      },
    };
  }

  #secondsUntilFree(): number {
    const milliseconds = (this.#meanMilliseconds * this.#waiting.length) / this.#limits.running;
    return Math.max(1, Math.ceil(milliseconds / 1000));
  }
}
