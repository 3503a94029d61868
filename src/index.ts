// Exports the public API of the package, and nothing else.
export {
  type ImageBatch,
  type ImageValues,
  type RasterImage,
  selectImages,
  sliceImages,
} from './data/image-batch.js';
export { type ImageGridOptions, imageGrid } from './data/image-grid.js';
export {
  type DatasetName,
  type ImageSpec,
  type LoadEvent,
  type LoadedImages,
  loadImages,
  type Split,
} from './data/load-images.js';
export { type DecodedPng, decodePng, encodePng, type PngLimits } from './data/png.js';
export type { Protocol } from './data/protocol.js';
export {
  type Device,
  type DeviceInfo,
  type DeviceOptions,
  openDevice,
  type RejectedBackend,
} from './device/device.js';
export type { DeviceLimits } from './device/limits.js';
export type { Precision } from './device/precision.js';
export { PixelCnnError } from './errors.js';
export {
  type MaskedConv2dBackwardOptions,
  type MaskedConv2dOptions,
  maskedConv2d,
  maskedConv2dBackward,
} from './functional.js';
export type { Classification, ClassifyOptions } from './models/classify.js';
export type {
  Condition,
  GatedConfig,
  NetworkSizes,
  PixelCnnConfig,
  PixelCnnOptions,
  PlainConfig,
} from './models/config.js';
export type { Labels } from './models/given-condition.js';
export type { Logits, LogLikelihood } from './models/likelihood.js';
export type { CreateOptions, InferenceOptions } from './models/options.js';
export type { Weights } from './models/weights.js';
export type { MaskType } from './ops/window.js';
export { PixelCNN } from './pixelcnn.js';
export type { Algorithm } from './program/algorithm.js';
export type { OpTrace } from './program/program.js';
export type { ProgressEvent } from './progress-event.js';
export type { SampledImages, SampleFrame } from './sample/draw.js';
export type { CompleteOptions, SampleOptions, SampleStreamOptions } from './sample/options.js';
export {
  type ClassEvaluation,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
} from './train/evaluate.js';
export type {
  CheckpointEvent,
  CheckpointFailedEvent,
  ChoosingEvent,
  EpochEvent,
  NumericsChangedEvent,
  ResumeEvent,
  SampleEvent,
  SamplingEvent,
  SkippedCheckpoint,
  StepEvent,
  TrainEvent,
  TrainingLoss,
  TrainSummary,
  ValidatingEvent,
  ValidationEvent,
  WaitingForDiskEvent,
  WarningEvent,
} from './train/events.js';
export type { Numerics } from './train/numerics.js';
export type { TrainOptions } from './train/options.js';
export { type Preset, type PresetName, presets } from './train/presets.js';
export { train } from './train/trainer.js';
export type { TrainingRun } from './train/training-run.js';
