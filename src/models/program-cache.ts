// Compiled programs kept for reuse. A use has its program to itself, so concurrent calls get programs of their own.

interface Disposable {
  dispose(): void;
}

export class ProgramCache<T extends Disposable> {
  readonly #idle: { key: string; value: T }[] = [];
  readonly #maxIdle: number;
  #closed = false;

  constructor(maxIdle: number) {
    this.#maxIdle = maxIdle;
  }

  /** Calls `body` with an idle value of this key, or with a new one, and keeps the value unless `body` throws. */
  async use<R>(key: string, build: () => Promise<T>, body: (value: T) => Promise<R>): Promise<R> {
    const lease = await this.lease(key, build);
    try {
      const result = await body(lease.value);
      lease.keep();
      return result;
    } finally {
      lease.end();
    }
  }

  /** The same for a use that is not one function: `keep` marks the value as fit for reuse, `end` gives it back. */
  async lease(key: string, build: () => Promise<T>): Promise<{ value: T; keep(): void; end(): void }> {
    const at = this.#idle.findLastIndex((entry) => entry.key === key);
    const value = at >= 0 ? this.#idle.splice(at, 1)[0]!.value : await build();
    let fit = false;
    return {
      value,
      keep: () => {
        fit = true;
      },
      end: () => {
        if (!fit || this.#closed) {
          value.dispose();
          return;
        }
        this.#idle.push({ key, value });
        // The least recently used goes first.
        if (this.#idle.length > this.#maxIdle) this.#idle.shift()!.value.dispose();
      },
    };
  }

  /** Disposes what is idle now and what is in use when its use ends. */
  close(): void {
    this.#closed = true;
    for (const { value } of this.#idle.splice(0)) value.dispose();
  }
}
