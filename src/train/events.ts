// What a training run tells, and the handle through which it tells it.
import type { Weights } from '../models/weights.js';
import type { SampledImages } from '../sample/sampler.js';
import type { SkippedCheckpoint } from './checkpoint-folder.js';
import type { Protocol } from './options.js';

/** A loss and what it is of. */
export interface TrainingLoss {
  /** Mean of -log p per image, each before its step, in nats. NaN where every step was skipped. */
  readonly nats: number;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: number;
  readonly split: 'train';
  /** Steps are taken with the raw weights, also where their average is kept. */
  readonly weights: 'raw';
  readonly protocol: Protocol;
}

/** The loss is of the step's batch. */
export interface StepEvent extends TrainingLoss {
  readonly type: 'step';
  /** Steps done in the whole run, from 1. */
  readonly step: number;
  /** From 0. */
  readonly epoch: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** The gradient was not finite and the weights stayed as they were. */
  readonly skipped: boolean;
  /** Images per second since the previous step. */
  readonly imagesPerSecond: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

/** The loss is of the epoch's images, without those of skipped steps. */
export interface EpochEvent extends TrainingLoss {
  readonly type: 'epoch';
  readonly epoch: number;
  readonly step: number;
}

export interface ValidationEvent {
  readonly type: 'validation';
  readonly epoch: number;
  readonly step: number;
  /** Mean of -log p per image after the step, in nats; of one draw for protocol `dynamic`. */
  readonly nats: number;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: number;
  readonly images: number;
  readonly split: 'validation';
  /** `ema` in a run with an `emaDecay` above 0, else `raw`. */
  readonly weights: Weights;
  readonly protocol: Protocol;
  /** The best so far, whichever weights that was of where a resumed run has another `emaDecay`. */
  readonly best: boolean;
}

export interface CheckpointEvent {
  readonly type: 'checkpoint';
  readonly step: number;
  readonly path: string;
  /** Older checkpoints that had to go because the disk was full, although they were to be kept. */
  readonly removed: readonly string[];
}

/** A checkpoint could not be saved. The one before is as it was, and the run goes on; its last save must succeed. */
export interface CheckpointFailedEvent {
  readonly type: 'checkpointFailed';
  readonly step: number;
  /** Of the error, e.g. ENOSPC. */
  readonly code: string;
  readonly message: string;
}

export interface ResumeEvent {
  readonly type: 'resume';
  readonly step: number;
  readonly path: string;
  /** Newer checkpoints that could not be used. */
  readonly skipped: readonly SkippedCheckpoint[];
}

export interface SampleEvent {
  readonly type: 'sample';
  readonly epoch: number;
  readonly step: number;
  readonly images: SampledImages;
}

/**
 * The first step of a batch size is waiting for the device to find out how each convolution is fastest: on a GPU with
 * cuDNN, once per shape, GPU and version of cuDNN and driver, as long as the user's cache folder keeps the choices. Told
 * when another convolution is done, twice a second at most.
 */
export interface ChoosingEvent {
  readonly type: 'choosing';
  /** Steps done. */
  readonly step: number;
  /** Convolutions of the step that are chosen for, and all of them. */
  readonly made: number;
  readonly of: number;
}

/** Something about the run that its owner will hardly want, and that nothing else tells. */
export interface WarningEvent {
  readonly type: 'warning';
  readonly step: number;
  readonly code: 'WARMUP_LONGER_THAN_RUN';
  readonly message: string;
}

/** How far the validation after an epoch is. Told twice a second at most; a fast one tells nothing. */
export interface ValidatingEvent {
  readonly type: 'validating';
  readonly step: number;
  /** Images. */
  readonly done: number;
  readonly of: number;
}

/** How far the drawing of samples after an epoch is. Told twice a second at most; a fast one tells nothing. */
export interface SamplingEvent {
  readonly type: 'sampling';
  readonly step: number;
  /** Steps of the sampler. */
  readonly done: number;
  readonly of: number;
}

/**
 * The last checkpoint waits for space on a full disk, for ten minutes at most: told at first and then once a minute.
 * {@link TrainingRun.stop} or the signal ends the waiting, with one last try.
 */
export interface WaitingForDiskEvent {
  readonly type: 'waitingForDisk';
  readonly step: number;
  /** ENOSPC, or EDQUOT for a quota. */
  readonly code: string;
  readonly message: string;
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
  /** Bytes that the disk has too few; undefined where it is a quota or the number of files that is short. */
  readonly missing: number | undefined;
}

export type TrainEvent =
  | StepEvent
  | EpochEvent
  | ValidationEvent
  | CheckpointEvent
  | CheckpointFailedEvent
  | ResumeEvent
  | SampleEvent
  | ChoosingEvent
  | ValidatingEvent
  | SamplingEvent
  | WaitingForDiskEvent
  | WarningEvent;

export interface TrainSummary extends TrainingLoss {
  readonly steps: number;
  readonly epochs: number;
  /**
   * What the loss is of: the last epoch that was completed or, without one, the last step; `none`, and NaN, if no step
   * was needed.
   */
  readonly lossOf: 'epoch' | 'step' | 'none';
  readonly skippedSteps: number;
  readonly seconds: number;
  /** Ended by {@link TrainingRun.stop}. */
  readonly stopped: boolean;
  /** The last one: of an earlier step than the weights where the run ended within an epoch. */
  readonly validation: ValidationEvent | undefined;
  /** The newest checkpoint. */
  readonly checkpoint: string | undefined;
}

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

  /** @internal */
  constructor(body: (run: TrainingRun) => Promise<TrainSummary>) {
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
