// Lets calls that read a model's weights and training steps that change them take turns.

/**
 * A call that runs in several pieces, such as drawing a sample, must see the same weights in all of them. A training step
 * therefore waits until the calls under way have ended. Calls that come meanwhile wait until that step is submitted, so
 * that neither side can keep the other waiting for ever.
 */
export class WeightsLock {
  #reads = 0;
  /** Resolves when the last requested change has been submitted or given up. */
  #change: Promise<void> = Promise.resolve();
  #changesWaiting = 0;
  #whenUnread: (() => void)[] = [];

  /** Runs `body` while the weights do not change. Rejects with the reason of a signal that is aborted before its turn. */
  async read<R>(signal: AbortSignal | undefined, body: () => Promise<R>): Promise<R> {
    while (this.#changesWaiting > 0) {
      await untilAborted(this.#change, signal);
      signal?.throwIfAborted();
    }
    this.#reads += 1;
    try {
      return await body();
    } finally {
      this.#reads -= 1;
      if (this.#reads === 0) for (const wake of this.#whenUnread.splice(0)) wake();
    }
  }

  /**
   * Calls `submit`, which changes the weights for everything that is submitted after it. Changes take place in the order of
   * their calls. Resolves with undefined, and submits nothing, if `signal` is aborted before its turn.
   */
  async change<R>(signal: AbortSignal | undefined, submit: () => Promise<R>): Promise<R | undefined> {
    this.#changesWaiting += 1;
    let result: Promise<R> | undefined;
    this.#change = this.#change.then(async () => {
      while (this.#reads > 0 && !signal?.aborted) {
        await untilAborted(new Promise<void>((resolve) => this.#whenUnread.push(resolve)), signal);
      }
      this.#changesWaiting -= 1;
      // The device runs submissions in their order, so a later read need not wait until the change has run.
      // The wait above also ends when the signal is aborted, and then nothing may be submitted.
      if (this.#reads === 0 && !signal?.aborted) result = (async () => submit())();
    });
    await this.#change;
    return result;
  }
}

/** Resolves when `done` does or when `signal` is aborted. */
function untilAborted(done: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return done;
  return new Promise((resolve) => {
    const end = () => {
      signal.removeEventListener('abort', end);
      resolve();
    };
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
    else done.then(end);
  });
}
