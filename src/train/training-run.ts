// The handle of a training run: awaited for its summary, iterated for its events, told to stop.
import type { TrainEvent, TrainSummary } from './events.js';

/** Events kept for a consumer that is slow, comes late or never comes, and those among them that hold images. */
const [maxEvents, maxSampleEvents] = [4096, 16];

/**
 * A run in progress: await it for the summary, iterate it for its events.
 *
 * Training never waits for a consumer: of the events not taken yet it keeps 4,096, 16 of them with samples, and drops,
 * when there are more, the oldest sample, the oldest step event or, where none is a step event, the oldest of all.
 */
export class TrainingRun implements PromiseLike<TrainSummary>, AsyncIterable<TrainEvent> {
  readonly #summary: Promise<TrainSummary>;
  readonly #events: TrainEvent[] = [];
  #done = false;
  #wake: (() => void)[] = [];
  readonly #stop = new AbortController();
  readonly #giveUp = new AbortController();
  /** The loop over the events has handled all of them, or has ended. */
  #idle = false;
  #ended = false;
  #whenIdle: (() => void)[] = [];
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
    // Whoever awaits or iterates the run gets its error; nobody doing so must not end the process.
    this.#summary.catch(() => undefined);
  }

  /**
   * Ends the run within a step, with a checkpoint if it has a folder. The summary says `stopped`. While that checkpoint
   * waits for space on a full disk (see {@link WaitingForDiskEvent}), a further call ends the waiting: the run then
   * rejects with an error that says which steps are lost.
   */
  stop(): void {
    this.#stop.abort();
    if (this.waitsForDisk) this.#giveUp.abort();
  }

  /** @internal The last checkpoint waits for space on a full disk. */
  waitsForDisk = false;

  /** @internal Aborted by a {@link stop} while the last checkpoint waits. */
  get giveUpSignal(): AbortSignal {
    return this.#giveUp.signal;
  }

  /** @internal Aborted by what `onEvent` throws, which is its reason. */
  get thrownSignal(): AbortSignal {
    return this.#thrown.signal;
  }

  /** @internal Aborted by {@link stop}. */
  get stopSignal(): AbortSignal {
    return this.#stop.signal;
  }

  /**
   * @internal Has every checkpoint wait for the loop over the events to handle those before it, and then for `call`:
   * what is written about a run is there before a checkpoint that a resumed run continues after.
   */
  beforeCheckpoint(call: () => Promise<void>): void {
    this.#beforeCheckpoint = call;
  }

  /** @internal Resolves when a checkpoint may be saved. */
  async readyForCheckpoint(): Promise<void> {
    if (this.#beforeCheckpoint === undefined) return;
    if (!this.#idle) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    await this.#beforeCheckpoint();
  }

  /** @internal */
  emit(event: TrainEvent): void {
    this.#call(event);
    if (!this.#ended) this.#idle = false;
    this.#events.push(event);
    const samples = event.type === 'sample' ? this.#events.filter(({ type }) => type === 'sample') : [];
    if (samples.length > maxSampleEvents) this.#events.splice(this.#events.indexOf(samples[0]!), 1);
    if (this.#events.length > maxEvents) {
      const oldestStep = this.#events.findIndex(({ type }) => type === 'step');
      this.#events.splice(Math.max(oldestStep, 0), 1);
    }
    this.#notify();
  }

  /** An error of the caller's must not be taken for one of whatever tells the event: it ends the run, as a signal does. */
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

  /** Events not taken yet, then those to come; ends with the run and throws what it rejects with. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TrainEvent, void> {
    try {
      for (;;) {
        const event = this.#events.shift();
        if (event !== undefined) {
          yield event;
        } else if (this.#done) {
          await this.#summary;
          return;
        } else {
          this.#becomeIdle();
          await new Promise<void>((resolve) => this.#wake.push(resolve));
        }
      }
    } finally {
      this.#ended = true;
      this.#becomeIdle();
    }
  }

  #becomeIdle(): void {
    this.#idle = true;
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}
