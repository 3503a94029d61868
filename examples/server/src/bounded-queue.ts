// Lets a few requests run at a time and a fixed number wait, and refuses any more at once.
import { HttpError } from './http-error.js';

export interface QueueLimits {
  /** The number of requests that run at the same time. */
  readonly running: number;
  /** The number of requests that may wait. */
  readonly waiting: number;
}

export class BoundedQueue {
  readonly #limits: QueueLimits;
  /** Functions that wake the waiting requests, oldest first. */
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** Moving average of the time that a request runs. */
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
   * Waits until the request may run. The caller must dispose the result when the request has ended.
   * @throws HttpError 429 with Retry-After if too many requests wait already; the reason of `signal` if it is
   * aborted.
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
        // The next request takes over this place. If it were freed first, a new request could take it.
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
