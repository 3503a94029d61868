// Starts training runs: checks the arguments of train(), opens folder and checkpoint, and hands over to the loop.
import { encodeModel } from '../checkpoint/model-file.js';
import { maxClassNamesLength } from '../checkpoint/training-facts.js';
import type { ImageBatch } from '../data/image-batch.js';
import { allocating, check, PixelCnnError } from '../errors.js';
import { checkImages } from '../models/check-images.js';
import { checkProtocol } from '../models/check-protocol.js';
import { conditionOf } from '../models/condition.js';
import { conditionText, type PixelCnnConfig } from '../models/config.js';
import { givenCondition } from '../models/given-condition.js';
import type { Model } from '../models/model.js';
import { parseOptions } from '../options.js';
import { checkModel, type PixelCNN } from '../pixelcnn.js';
import { show } from '../show.js';
import { TrainingImages } from './batches.js';
import { CheckpointFolder } from './checkpoint-folder.js';
import { EpochEnd } from './epoch-end.js';
import type { TrainSummary } from './events.js';
import { learningRateAt, warmupStepsOf } from './learning-rate.js';
import { type TrainOptions, type TrainSettings, trainSchema, type ValidationSource } from './options.js';
import { RunProgress } from './run-progress.js';
import { RunSaver } from './run-saver.js';
import { startRun } from './run-start.js';
import { TrainedModel } from './trained-model.js';
import { TrainingLoop } from './training-loop.js';
import { TrainingRun } from './training-run.js';
import { toCheckpoint } from './training-state.js';
import { TrainingStep } from './training-step.js';

/**
 * Trains `model` on `dataset` with Adam. Returns at once: await the run for its summary, iterate it for its
 * events (`for await (const event of run)`), or pass `onEvent` to have a function called with each event.
 *
 * The model can be used while it trains. A step waits for the calls under way, so that each of them sees the
 * weights of one step. Only {@link PixelCNN.sampleStream} is not waited for: it ends with ERR_MODEL_IN_USE
 * when the weights change. A run that ends before its first step leaves the model as it was.
 *
 * Arguments that are wrong or do not fit together are refused at once, as is a model that another run is
 * training (ERR_MODEL_IN_USE). The run rejects with ERR_DIVERGED if its gradients stop being finite, with
 * ERR_FOLDER_IN_USE or ERR_FOLDER_LOCKED for a checkpoint folder of another run, with CKPT_MISMATCH if it
 * resumes a run that had other images or settings, with the signal's reason, and with what `onEvent` throws. The last checkpoint waits ten minutes for space on a full disk (event
 * `waitingForDisk`); if it fails, the error says which steps are lost, and `model` still has their weights.
 * All codes are explained in docs/errors.md.
 */
export function train(model: PixelCNN, dataset: ImageBatch, options: TrainOptions = {}): TrainingRun {
  const internals = checkModel('train', model);
  const parsed = parseOptions('train', trainSchema, options);
  const images = checkImages('train: dataset', dataset, internals);
  const classNames = classNamesOf(internals, images);
  const classified = { config: internals.config, classNames };
  const condition = givenCondition('train', classified, {}, images, images);
  checkConditionDropout(internals.config, parsed.conditionDropout);
  const validation = validationSource(parsed.validation, images, classified);
  const settings = { ...parsed, validation, condition, classNames };
  checkProtocol('train', settings.protocol, model.config.levels, images.values);
  check(settings.resume !== true || settings.checkpointFolder !== undefined, 'ERR_INVALID_ARG_VALUE', () => {
    return 'train: `resume`: true needs a `checkpointFolder` to resume from, got none';
  });
  settings.signal?.throwIfAborted();
  // Two runs would undo each other's steps, and neither would notice.
  if (internals.inTraining) {
    throw new PixelCnnError('ERR_MODEL_IN_USE', 'train: another run is training this model', {
      remedy: 'await that run first, or train a second model',
    });
  }
  internals.inTraining = true;
  return new TrainingRun(async (run) => {
    try {
      return await allocating('train', () => runTraining(internals, images, settings, run));
    } finally {
      internals.inTraining = false;
    }
  }, settings.onEvent);
}

/**
 * Decides at the start whether a run validates with a share of its dataset or with images that were given for
 * it.
 */
function validationSource(
  given: number | ImageBatch,
  { values = 'bytes' }: ImageBatch,
  model: Pick<Model, 'config' | 'classNames'>,
): ValidationSource {
  if (typeof given === 'number') return { share: given, images: undefined, condition: undefined };
  const images = checkImages('train: validation', given, { config: model.config, values });
  return { share: 0, images, condition: givenCondition('train: validation', model, {}, images, images) };
}

/**
 * Returns the names of the model's classes: those that it knows or else those of its images.
 * @throws PixelCnnError ERR_CONDITION for images with more named classes than the model has.
 */
function classNamesOf(
  { config, classNames }: Model,
  { classNames: theirs }: ImageBatch,
): readonly string[] | undefined {
  const condition = conditionOf(config);
  if (condition?.kind !== 'classes') return undefined;
  if (classNames !== undefined || theirs === undefined) return classNames;
  const { size, none } = condition;
  check(!none || !theirs.includes('none'), 'ERR_CONDITION', () => {
    return "train: the images have a class 'none', which stands for no class in a model with `none`: rename it";
  });
  checkStorable(theirs);
  check(theirs.length <= size, 'ERR_CONDITION', () => {
    return `train: the images have ${theirs.length} classes, and the model is given ${size}`;
  });
  return [...theirs];
}

/** Refuses names that a model file could not keep, before any work is done. */
function checkStorable(names: readonly string[]): void {
  const wrong = names.find((name) => /\p{Surrogate}/u.test(name));
  check(wrong === undefined, 'ERR_INVALID_ARG_VALUE', () => {
    return `train: dataset.classNames: ${show(wrong)} is no text that a file can hold (a lone surrogate)`;
  });
  const { length } = JSON.stringify(names);
  check(length <= maxClassNamesLength, 'ERR_LIMIT', () => {
    return `train: dataset.classNames have ${length} characters as JSON, a model file keeps at most ${maxClassNamesLength}`;
  });
}

/** Refuses to leave out the condition in training a model that has no place for none. */
function checkConditionDropout({ condition }: PixelCnnConfig, conditionDropout: number): void {
  if (conditionDropout === 0 || condition?.none) return;
  throw new PixelCnnError(
    'ERR_CONDITION',
    `train: \`conditionDropout\` ${conditionDropout} leaves out conditions, and the model is given ${conditionText(condition)}, without \`none\``,
    { remedy: 'create the model with `condition: { …, none: true }`, or leave conditionDropout out' },
  );
}

/** Creates the objects that the loop works with, runs it, and releases them. */
async function runTraining(
  model: Model,
  dataset: ImageBatch,
  settings: TrainSettings,
  run: TrainingRun,
): Promise<TrainSummary> {
  const began = performance.now();
  const signals = [settings.signal, run.thrownSignal].filter((signal) => signal !== undefined);
  const signal = AbortSignal.any(signals);
  const images = new TrainingImages(dataset, model.config, settings);
  const { algorithm, protocol, checkpointFolder, keepLast } = settings;
  const { height, width } = dataset;
  const dynamic = protocol === 'dynamic';
  const trained = new TrainedModel(model, dataset, settings);
  const onChange = () => trained.describe();
  const step = await TrainingStep.create(model, { height, width, dynamic, algorithm, onChange });
  trained.begin();
  let folder: CheckpointFolder | undefined;
  try {
    if (checkpointFolder !== undefined) folder = await CheckpointFolder.open(checkpointFolder, keepLast);
    const start = await startRun(step, folder, model.config, dataset, settings);
    const { position, resumed, numericsChanged } = start;
    // A run that resumes with images without names keeps the names that its checkpoint knows.
    model.classNames ??= start.classNames;
    if (resumed !== undefined) {
      trained.isAt(position.step);
      run.emit(resumed);
      if (numericsChanged !== undefined) run.emit(numericsChanged);
    }
    const progress = new RunProgress(start, images, settings, (event) => run.emit(event));
    const encode = async () => {
      const snapshot = await step.snapshot();
      const named = { ...settings, classNames: model.classNames };
      return encodeModel(toCheckpoint(model.config, position, snapshot, named, dataset, step.numerics));
    };
    const saver = folder && new RunSaver(run, folder, position, resumed?.path, encode);
    const epochEnd = new EpochEnd(model, images, settings, { run, progress, saver, signal });
    warnOfWarmup(run, settings, progress);
    warnOfNone(run, model.config, settings, progress);
    const parts = { run, settings, images, step, progress, epochEnd, saver, signal };
    await new TrainingLoop(parts).run();
    if (progress.step > 0) trained.isAt(progress.step);
    return progress.summary({
      seconds: (performance.now() - began) / 1000,
      stopped: run.stopSignal.aborted && progress.step < progress.totalSteps,
      checkpoint: saver?.checkpoint ?? resumed?.path,
    });
  } finally {
    trained.release();
    step.dispose();
    await folder?.close();
  }
}

/** Warns if the run ends within its warm-up: it never reaches its learning rate and learns little. */
function warnOfWarmup(run: TrainingRun, settings: TrainSettings, { step, totalSteps }: RunProgress): void {
  const warmup = warmupStepsOf(settings, totalSteps);
  if (warmup < totalSteps) return;
  const reached = learningRateAt(settings, totalSteps - 1, totalSteps).toPrecision(2);
  run.emit({
    type: 'warning',
    step,
    code: 'WARMUP_LONGER_THAN_RUN',
    message:
      `the warm-up of ${warmup} steps takes up the whole run of ${totalSteps}: the learning rate still rises in ` +
      `its last step, to ${reached} of ${settings.learningRate} (\`warmupSteps\`)`,
  });
}

/** Warns if the model has a place for no condition, and the run never trains it: `guidance` would then draw nonsense. */
function warnOfNone(
  run: TrainingRun,
  { condition }: PixelCnnConfig,
  { conditionDropout }: TrainSettings,
  { step }: RunProgress,
): void {
  if (!condition?.none || conditionDropout > 0) return;
  run.emit({
    type: 'warning',
    step,
    code: 'NONE_UNTRAINED',
    message:
      'the model has `none`, and this run trains no image without its condition (`conditionDropout` is 0): ' +
      'guidance and images of no condition need it',
  });
}
