// Calls that read a model's weights in several pieces, and training steps that change them, take turns.

/**
 * A call that runs in several pieces must see one set of weights: a sample is drawn with the weights of one step, a mean
 * is over images under the same ones. So a training step waits until the calls under way have ended; calls that come
 * meanwhile wait until that step is submitted, so that neither side waits for ever.
 */
export class WeightsLock {
  #reads = 0;
  /** The last change that was asked for; it has been submitted when this resolves. */
  #change: Promise<void> = Promise.resolve();
  #changesWaiting = 0;
  #whenUnread: (() => void)[] = [];

  /** Runs `body`, during which the weights stay as they are. */
  async read<R>(body: () => Promise<R>): Promise<R> {
    while (this.#changesWaiting > 0) await this.#change;
    this.#reads += 1;
    try {
      return await body();
    } finally {
      this.#reads -= 1;
      if (this.#reads === 0) for (const wake of this.#whenUnread.splice(0)) wake();
    }
  }

  /** Calls `submit`, which changes the weights for whatever is submitted after it, in the order of the calls. */
  async change<R>(submit: () => Promise<R>): Promise<R> {
    this.#changesWaiting += 1;
    let result: Promise<R> | undefined;
    this.#change = this.#change.then(async () => {
      while (this.#reads > 0) await new Promise<void>((resolve) => this.#whenUnread.push(resolve));
      this.#changesWaiting -= 1;
      // What is submitted runs after what was submitted before, so nobody waits here until it has run.
      result = (async () => submit())();
    });
    await this.#change;
    return result!;
  }
}
