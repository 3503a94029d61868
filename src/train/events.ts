// What a training run tells: its events and its summary.
import type { Weights } from '../models/weights.js';
import type { SampledImages } from '../sample/draw.js';
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
  /** The best so far of these images, weights and protocol. */
  readonly best: boolean;
}

export interface CheckpointEvent {
  readonly type: 'checkpoint';
  readonly step: number;
  readonly path: string;
  /** Older checkpoints that had to go because the disk was full, although they were to be kept. */
  readonly removed: readonly string[];
}

/**
 * A checkpoint could not be saved. The one before is as it was, and the run goes on; its last save must succeed. After a
 * `checkpoint` event of the same step it is the second file of that step alone which could not be written.
 */
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
  /** OTHER_VALIDATION: a resumed run validates other images or weights than before, and its best starts anew. */
  readonly code: 'WARMUP_LONGER_THAN_RUN' | 'OTHER_VALIDATION';
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
