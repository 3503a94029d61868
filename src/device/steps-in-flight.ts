// Which steps are on a device: two at most, in the order in which they were asked for.

/** Two, so that the device has the next step at hand when one ends. */
const most = 2;

export class StepsInFlight {
  #count = 0;
  /** What the waiting steps are woken with. While one waits, no place is free: places are handed on. */
  readonly #waiting: (() => void)[] = [];

  /** Takes a free place; false where there is none. */
  tryEnter(): boolean {
    if (this.#count >= most) return false;
    this.#count += 1;
    return true;
  }

  /** Resolves with a place taken. @throws the signal's reason when it is aborted before. */
  enter(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(wake), 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', leave, { once: true });
      this.#waiting.push(wake);
    });
  }

  /** Hands a place to the next in line. */
  leave(): void {
    const wake = this.#waiting.shift();
    if (wake === undefined) this.#count -= 1;
    else wake();
  }

  /** A place for everyone who waits: there is nothing to wait for any more. */
  wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) {
      this.#count += 1;
      wake();
    }
  }
}
