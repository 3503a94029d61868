// Admits at most two submissions to a device at a time, in the order in which they ask.

/** With two, the device can begin the next one as soon as one ends. */
const most = 2;

export class StepsInFlight {
  #count = 0;
  /** Resolve functions of submissions that wait for a place, oldest first. */
  readonly #waiting: (() => void)[] = [];

  /** Takes a place and returns true, or returns false if none is free. */
  tryEnter(): boolean {
    if (this.#count >= most) return false;
    this.#count += 1;
    return true;
  }

  /** Waits for a place. Rejects with the signal's reason if it is aborted before. */
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

  /** Hands the place to the submission that has waited longest, or frees it if none waits. */
  leave(): void {
    const wake = this.#waiting.shift();
    if (wake === undefined) this.#count -= 1;
    else wake();
  }

  /** Lets all waiting submissions continue, because the device is closing and will refuse them. */
  wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) {
      this.#count += 1;
      wake();
    }
  }
}
