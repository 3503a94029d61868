// Calls that read a model's weights in several pieces, and training steps that change them, take turns.

/**
 * A call that runs in several pieces must see one set of weights: a sample is drawn with the weights of one step, a mean
 * is over images under the same ones. So a training step waits until the calls under way have ended; calls that come
 * meanwhile wait until that step is submitted, so that neither side waits for ever.
 */
export class WeightsLock {
  #reads = 0;
  /** The last change that was asked for; it has been submitted, or given up, when this resolves. */
  #change: Promise<void> = Promise.resolve();
  #changesWaiting = 0;
  #whenUnread: (() => void)[] = [];

  /** Runs `body`, during which the weights stay as they are. Rejects with the reason of a signal that is aborted first. */
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
   * Calls `submit`, which changes the weights for whatever is submitted after it, in the order of the calls. Undefined,
   * and nothing submitted, where `signal` is aborted before its turn.
   */
  async change<R>(signal: AbortSignal | undefined, submit: () => Promise<R>): Promise<R | undefined> {
    this.#changesWaiting += 1;
    let result: Promise<R> | undefined;
    this.#change = this.#change.then(async () => {
      while (this.#reads > 0 && !signal?.aborted) {
        await untilAborted(new Promise<void>((resolve) => this.#whenUnread.push(resolve)), signal);
      }
      this.#changesWaiting -= 1;
      // What is submitted runs after what was submitted before, so nobody waits here until it has run.
      // One that comes after a change that was given up must not be submitted in its place.
      if (this.#reads === 0 && !signal?.aborted) result = (async () => submit())();
    });
    await this.#change;
    return result;
  }
}

/** Resolves when `done` does, or when `signal` is aborted. */
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
