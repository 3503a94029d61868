// Defines the handle of a training run, which is awaited for its summary, iterated for its events, and stopped.
import type { TrainEvent, TrainSummary } from './events.js';

/**
 * Most events kept for a consumer that is slow, comes late or never comes, and most of them that hold images.
 */
const [maxEvents, maxSampleEvents] = [4096, 16];

/**
 * A run in progress: await it for the summary, iterate it for its events.
 *
 * Training never waits for a consumer. It keeps the last 4,096 events that were not taken yet, at most 16 of
 * them with samples. When there are more, it drops the oldest sample event, the oldest step event or, if
 * there is none, the oldest event of all.
 */
export class TrainingRun implements PromiseLike<TrainSummary>, AsyncIterable<TrainEvent> {
  readonly #summary: Promise<TrainSummary>;
  readonly #events: TrainEvent[] = [];
  #done = false;
  #wake: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #giveUp = new AbortController();
  #beforeCheckpoint: (() => Promise<void>) | undefined;
  readonly #onEvent: ((event: TrainEvent) => void) | undefined;
  readonly #thrown = new AbortController();

  /** @internal */
  constructor(body: (run: TrainingRun) => Promise<TrainSummary>, onEvent?: (event: TrainEvent) => void) {
    this.#onEvent = onEvent;
    this.#summary = body(this).finally(() => {
      this.#done = true;
      this.#notify();
    });
    // The caller gets the error by awaiting or iterating the run; if nobody does, it must not end the process.
    this.#summary.catch(() => undefined);
  }

  /**
   * Ends the run after the step in progress, with a checkpoint if it has a folder. The summary then says
   * `stopped`. If that checkpoint waits for space on a full disk (see {@link WaitingForDiskEvent}), a second
   * call ends the wait, and the run rejects with an error that says which steps are lost.
   */
  stop(): void {
    this.#stop.abort();
    if (this.waitsForDisk) this.#giveUp.abort();
  }

  /** @internal Whether the last checkpoint waits for space on a full disk. */
  waitsForDisk = false;

  /** @internal Aborted by {@link stop} while the last checkpoint waits. */
  get giveUpSignal(): AbortSignal {
    return this.#giveUp.signal;
  }

  /** @internal Aborted when `onEvent` throws; its reason is the error. */
  get thrownSignal(): AbortSignal {
    return this.#thrown.signal;
  }

  /** @internal Aborted by {@link stop}. */
  get stopSignal(): AbortSignal {
    return this.#stop.signal;
  }

  /**
   * @internal Has `call` awaited before each checkpoint. The command line writes its metrics to the disk
   * there, so that they are never older than a checkpoint which a resumed run continues after.
   */
  beforeCheckpoint(call: () => Promise<void>): void {
    this.#beforeCheckpoint = call;
  }

  /** @internal Resolves when the call that {@link beforeCheckpoint} was given is done. */
  async readyForCheckpoint(): Promise<void> {
    await this.#beforeCheckpoint?.();
  }

  /** @internal Calls `onEvent` and queues the event for iteration. */
  emit(event: TrainEvent): void {
    this.#call(event);
    this.#events.push(event);
    const samples = event.type === 'sample' ? this.#events.filter(({ type }) => type === 'sample') : [];
    if (samples.length > maxSampleEvents) this.#events.splice(this.#events.indexOf(samples[0]!), 1);
    if (this.#events.length > maxEvents) {
      const oldestStep = this.#events.findIndex(({ type }) => type === 'step');
      this.#events.splice(Math.max(oldestStep, 0), 1);
    }
    this.#notify();
  }

  /**
   * Calls `onEvent`. An error that it throws must not surface in the code that emits the event; it ends the run as
   * a signal does.
   */
  #call(event: TrainEvent): void {
    if (this.#thrown.signal.aborted) return;
    try {
      this.#onEvent?.(event);
    } catch (error) {
      this.#thrown.abort(error);
    }
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited like a Promise; that is the API
  then<A = TrainSummary, B = never>(
    onFulfilled?: ((summary: TrainSummary) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#summary.then(onFulfilled, onRejected);
  }

  /**
   * Yields the events not taken yet, then those to come. Ends with the run, and throws the error of one that
   * rejects.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<TrainEvent, void> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) {
        yield event;
      } else if (this.#done) {
        await this.#summary;
        return;
      } else {
        await new Promise<void>((resolve) => this.#wake.push(resolve));
      }
    }
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}
