// Defines the events and the summary of a training run.

import type { Protocol } from '../data/protocol.js';
import type { Weights } from '../models/weights.js';
import type { SampledImages } from '../sample/draw.js';
import type { Evaluation } from './evaluate.js';
import type { Numerics } from './numerics.js';

/** A training loss, with the split, the weights and the protocol that it belongs to. */
export interface TrainingLoss {
  /**
   * Mean of -log p per image, in nats, each image with the weights before its step and given its condition, if the model
   * has one; those that `conditionDropout` picks are given none. NaN if every step was skipped.
   */
  readonly nats: number;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: number;
  readonly split: 'train';
  /** Steps use the raw weights, even if the run also keeps their average. */
  readonly weights: 'raw';
  readonly protocol: Protocol;
}

/** Reports a step; the loss is that of its batch. */
export interface StepEvent extends TrainingLoss {
  readonly type: 'step';
  /** Steps done in the whole run, from 1. */
  readonly step: number;
  /** Counted from 0. */
  readonly epoch: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** Whether the gradient was not finite, so that the weights stayed as they were. */
  readonly skipped: boolean;
  /** Images per second since the previous step. */
  readonly imagesPerSecond: number;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
}

/** Reports the end of an epoch; the loss is the mean over its images, without those of skipped steps. */
export interface EpochEvent extends TrainingLoss {
  readonly type: 'epoch';
  readonly epoch: number;
  readonly step: number;
}

/** Reports the validation after an epoch. */
export interface ValidationEvent {
  readonly type: 'validation';
  readonly epoch: number;
  readonly step: number;
  /** Mean of -log p per image with the weights after the step, in nats; one draw under protocol `dynamic`. */
  readonly nats: number;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: number;
  readonly images: number;
  readonly split: 'validation';
  /** `ema` in a run with an `emaDecay` above 0, otherwise `raw`. */
  readonly weights: Weights;
  readonly protocol: Protocol;
  /** What the likelihood is given, as in {@link Evaluation}. Null for a model without a condition. */
  readonly given: Evaluation['given'];
  /** Whether this is the best validation so far with these images, weights and protocol. */
  readonly best: boolean;
}

/** Reports that a checkpoint was saved. */
export interface CheckpointEvent {
  readonly type: 'checkpoint';
  readonly step: number;
  readonly path: string;
  /** Older checkpoints that were to be kept, but were removed because the disk was full. */
  readonly removed: readonly string[];
}

/**
 * Reports that a checkpoint could not be saved. The previous checkpoint is unchanged and the run goes on;
 * only its last save must succeed. After a `checkpoint` event of the same step, only the second file of that
 * step (its step checkpoint beside best.safetensors) could not be written.
 */
export interface CheckpointFailedEvent {
  readonly type: 'checkpointFailed';
  readonly step: number;
  /** Code of the error, e.g. ENOSPC. */
  readonly code: string;
  readonly message: string;
}

/** A checkpoint that was passed over because it is damaged; `reason` is a sentence. */
export interface SkippedCheckpoint {
  readonly path: string;
  readonly reason: string;
}

/** Reports that the run continues from a checkpoint. */
export interface ResumeEvent {
  readonly type: 'resume';
  readonly step: number;
  readonly path: string;
  /** Newer checkpoints, which are damaged. */
  readonly skipped: readonly SkippedCheckpoint[];
}

/**
 * Reports, once and before the first step, that a resumed run computes otherwise than the run before: with other kernels,
 * another precision or another algorithm. It goes on correctly from the checkpoint, but it need not come to the bits that
 * it would have come to without the change.
 */
export interface NumericsChangedEvent {
  readonly type: 'numericsChanged';
  /** Steps done. */
  readonly step: number;
  /** The numerics in the checkpoint; null in one of an earlier release, which did not record them. */
  readonly from: Numerics | null;
  /** The numerics from now on. */
  readonly to: Numerics;
}

/** Brings the images that were drawn after an epoch. */
export interface SampleEvent {
  readonly type: 'sample';
  readonly epoch: number;
  readonly step: number;
  readonly images: SampledImages;
}

/**
 * Reports that the first step of a batch size waits for the device to find the fastest algorithm of each
 * convolution. A GPU with cuDNN does so once per shape, GPU, and version of cuDNN and driver; the user's
 * cache folder keeps the choices. The event comes when another convolution is done, at most twice a second.
 */
export interface ChoosingEvent {
  readonly type: 'choosing';
  /** Steps done. */
  readonly step: number;
  /** Convolutions of the step whose algorithm is chosen, out of `of`. */
  readonly made: number;
  readonly of: number;
}

/** Warns of something about the run that is probably not intended. */
export interface WarningEvent {
  readonly type: 'warning';
  readonly step: number;
  /**
   * WARMUP_LONGER_THAN_RUN: the run ends before its learning rate is reached. OTHER_VALIDATION: a resumed run
   * validates with other images or weights than before, so that the search for the best starts anew.
   */
  readonly code: 'WARMUP_LONGER_THAN_RUN' | 'OTHER_VALIDATION' | 'NONE_UNTRAINED';
  readonly message: string;
}

/** Reports how far the validation after an epoch is, at most twice a second and not before half a second. */
export interface ValidatingEvent {
  readonly type: 'validating';
  readonly step: number;
  /** Images evaluated, out of `of`. */
  readonly done: number;
  readonly of: number;
}

/**
 * Reports how far the drawing of samples after an epoch is, at most twice a second and not before half a
 * second.
 */
export interface SamplingEvent {
  readonly type: 'sampling';
  readonly step: number;
  /** Steps of the sampler, out of `of`. */
  readonly done: number;
  readonly of: number;
}

/**
 * Reports that the last checkpoint waits for space on a full disk: at once, then once a minute, for ten
 * minutes at most. {@link TrainingRun.stop} or the signal ends the wait with one last try.
 */
export interface WaitingForDiskEvent {
  readonly type: 'waitingForDisk';
  readonly step: number;
  /** ENOSPC, or EDQUOT for a quota. */
  readonly code: string;
  readonly message: string;
  readonly path: string;
  /** Size of the file to be written. */
  readonly bytes: number;
  /** Bytes that the disk lacks; undefined if a quota or the number of files is what is used up. */
  readonly missing: number | undefined;
}

export type TrainEvent =
  | StepEvent
  | EpochEvent
  | ValidationEvent
  | CheckpointEvent
  | CheckpointFailedEvent
  | ResumeEvent
  | NumericsChangedEvent
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
   * Whether the loss is that of the last complete epoch or, if there is none, of the last step; `none` (and a
   * loss of NaN) if the run took no step.
   */
  readonly lossOf: 'epoch' | 'step' | 'none';
  readonly skippedSteps: number;
  readonly seconds: number;
  /** Whether {@link TrainingRun.stop} ended the run. */
  readonly stopped: boolean;
  /** The last validation. It belongs to an earlier step than the weights if the run ended within an epoch. */
  readonly validation: ValidationEvent | undefined;
  /** Path of the newest checkpoint. */
  readonly checkpoint: string | undefined;
}
