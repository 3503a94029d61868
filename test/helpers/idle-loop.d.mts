// Declares the types of idle-loop.mjs.

/** Milliseconds by which looks at an event loop were later than they should have been. */
export interface LoopDelay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** How many looks there were. */
  readonly count: number;
}

export function besideIdleLoop<T>(work: () => PromiseLike<T> | T): Promise<{
  readonly value: T;
  readonly own: LoopDelay;
  readonly idle: LoopDelay;
}>;
