// The training loop: batches in, steps submitted two at a time, events out, checkpoints that resume bit for bit.
import { encodeModel } from '../checkpoint/model-file.js';
import { checkBytes } from '../data/check-bytes.js';
import { type ImageBatch, selectImages } from '../data/image-batch.js';
import { asBytes } from '../data/levels.js';
import { allocating, check, PixelCnnError } from '../errors.js';
import { checkImages } from '../models/check-images.js';
import type { Model } from '../models/model.js';
import { parseOptions } from '../options.js';
import { checkModel, type PixelCNN } from '../pixelcnn.js';
import type { Choices } from '../program/program.js';
import { seedKey } from '../random/philox.js';
import type { SampledImages } from '../sample/draw.js';
import { drawImages } from '../sample/sampler.js';
import { batchIndices, gatherValues, shuffledIndices, splitIndices } from './batches.js';
import { CheckpointFolder, readTrainingCheckpoint } from './checkpoint-folder.js';
import { whileChoosing } from './choosing.js';
import { checkProtocol, type Evaluation, evaluateImages } from './evaluate.js';
import type { TrainingLoss, TrainSummary, ValidationEvent } from './events.js';
import { learningRateAt, warmupStepsOf } from './learning-rate.js';
import { type TrainOptions, type TrainSettings, trainSchema } from './options.js';
import { type ProgressEvent, twiceASecond } from './progress-event.js';
import { RunSaver } from './run-saver.js';
import { TrainingRun } from './training-run.js';
import { digestOf, fromCheckpoint, type RunPosition, toCheckpoint } from './training-state.js';
import { type StepResult, TrainingStep } from './training-step.js';

/**
 * Trains `model` on `dataset` with Adam. Returns at once; await the run for its summary, iterate it for its events:
 * `for await (const event of run)`, or have `onEvent` called with each.
 *
 * The model can be used meanwhile: a step waits for the calls under way, so that each of them sees the weights of one
 * step. Only a {@link PixelCNN.sampleStream} is not waited for, and ends with ERR_MODEL_IN_USE when the weights change.
 * @throws PixelCnnError at once ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE or ERR_OUT_OF_RANGE for an argument,
 * ERR_BUFFER_SIZE, ERR_DETACHED, ERR_IMAGE_CHANNELS or ERR_IMAGE_VALUES for images that do not fit, ERR_DISPOSED,
 * ERR_MODEL_IN_USE while another run trains the model, or the reason of a signal that is aborted already. The run rejects
 * with ERR_DIVERGED, ERR_DISPOSED, ERR_DETACHED for images transferred away meanwhile, CKPT_* and ERR_NO_CHECKPOINT
 * when resuming fails, ERR_FOLDER_LOCKED and ERR_FOLDER_IN_USE for a checkpoint folder of another run, the errno of a
 * failed folder, read or last save, ERR_OUT_OF_MEMORY, ERR_LIMIT for a batch of 2 GiB or more, ERR_CUDA and
 * ERR_DEVICE_LOST of a GPU, the signal's reason, or what `onEvent` throws. On a full disk the last save waits ten minutes
 * for space (event `waitingForDisk`); the error of a failed one says which steps are lost, and `model` still has their
 * weights.
 */
export function train(model: PixelCNN, dataset: ImageBatch, options: TrainOptions = {}): TrainingRun {
  const internals = checkModel('train', model);
  const settings = parseOptions('train', trainSchema, options);
  const images = checkImages('train: dataset', dataset, internals);
  if (typeof settings.validation !== 'number')
    settings.validation = checkImages('train: validation', settings.validation, {
      config: model.config,
      values: images.values ?? 'bytes',
    });
  checkProtocol('train', settings.protocol, model.config.levels, images.values);
  check(settings.resume !== true || settings.checkpointFolder !== undefined, 'ERR_INVALID_ARG_VALUE', () => {
    return 'train: `resume`: true needs a `checkpointFolder` to resume from, got none';
  });
  settings.signal?.throwIfAborted();
  // Two runs would each undo the other's steps, and neither would say so.
  if (internals.inTraining) {
    throw new PixelCnnError('ERR_MODEL_IN_USE', 'train: another run is training this model', {
      remedy: 'await that run first, or train a second model',
    });
  }
  internals.inTraining = true;
  return new TrainingRun(async (run) => {
    try {
      return await allocating('train', async () => new Trainer(model, images, settings, run).start());
    } finally {
      internals.inTraining = false;
    }
  }, settings.onEvent);
}

class Trainer {
  readonly #target: PixelCNN;
  readonly #model: Model;
  readonly #dataset: ImageBatch;
  readonly #settings: TrainSettings;
  readonly #run: TrainingRun;
  /** Aborted by the caller: by its signal, or by what its `onEvent` throws. */
  readonly #signal: AbortSignal;
  readonly #training: Uint32Array;
  readonly #validation: ImageBatch | undefined;
  readonly #stepsPerEpoch: number;
  readonly #totalSteps: number;
  readonly #dimensions: number;
  #position: RunPosition = {
    step: 0,
    epochNats: 0,
    epochImages: 0,
    bestNats: null,
    bestOf: undefined,
    digest: '',
  };
  #folder: CheckpointFolder | undefined;
  #saver: RunSaver | undefined;
  #lastLoss: { lossOf: TrainSummary['lossOf']; loss: TrainingLoss };
  #lastValidation: ValidationEvent | undefined;
  /** Computed once. */
  #validationDigest: string | undefined;
  #consecutiveSkips = 0;
  #skipped = 0;
  #lastTime = performance.now();

  constructor(model: PixelCNN, dataset: ImageBatch, settings: TrainSettings, run: TrainingRun) {
    this.#target = model;
    this.#model = model.internals();
    this.#dataset = dataset;
    this.#settings = settings;
    this.#run = run;
    const signals = [settings.signal, run.thrownSignal].filter((signal) => signal !== undefined);
    this.#signal = AbortSignal.any(signals);
    const share = typeof settings.validation === 'number' ? settings.validation : 0;
    const split = splitIndices(dataset.count, share, settings.seed);
    this.#training = split.training;
    const held = split.validation.length > 0 ? selectImages(dataset, split.validation) : undefined;
    this.#validation = typeof settings.validation === 'number' ? held : settings.validation;
    this.#stepsPerEpoch = Math.ceil(this.#training.length / settings.batchSize);
    const { steps, epochs = steps === undefined ? 1 : Number.POSITIVE_INFINITY } = settings;
    this.#totalSteps = Math.min(epochs * this.#stepsPerEpoch, steps ?? Number.POSITIVE_INFINITY);
    this.#dimensions = dataset.height * dataset.width * dataset.channels;
    this.#lastLoss = { lossOf: 'none', loss: this.#lossOf(Number.NaN) };
  }

  async start(): Promise<TrainSummary> {
    const began = performance.now();
    let checkpoint: string | undefined;
    const { height, width } = this.#dataset;
    const { algorithm, protocol } = this.#settings;
    const options = { height, width, dynamic: protocol === 'dynamic', algorithm };
    const step = await TrainingStep.create(this.#model, options);
    try {
      checkpoint = await this.#prepare(step);
      if (this.#folder !== undefined) {
        const encode = () => this.#encodeCheckpoint(step);
        this.#saver = new RunSaver(this.#run, this.#folder, this.#position, checkpoint, encode);
      }
      // Only now is it certain that there will be a run: one that is refused leaves the model as it was.
      this.#target.imageSize = { height, width };
      this.#model.values = this.#dataset.values ?? 'bytes';
      this.#model.step = undefined;
      this.#warnOfWarmup();
      await this.#loop(step);
      this.#model.step = this.#position.step;
    } finally {
      step.dispose();
      await this.#folder?.close();
    }
    return {
      steps: this.#position.step,
      epochs: Math.floor(this.#position.step / this.#stepsPerEpoch),
      lossOf: this.#lastLoss.lossOf,
      ...this.#lastLoss.loss,
      skippedSteps: this.#skipped,
      seconds: (performance.now() - began) / 1000,
      stopped: this.#run.stopSignal.aborted && this.#position.step < this.#totalSteps,
      validation: this.#lastValidation,
      checkpoint: this.#saver?.checkpoint ?? checkpoint,
    };
  }

  /** Opens the checkpoint folder and restores a checkpoint if asked to. Returns its path. */
  async #prepare(step: TrainingStep): Promise<string | undefined> {
    const { checkpointFolder, keepLast, resume } = this.#settings;
    if (checkpointFolder !== undefined) {
      this.#folder = await CheckpointFolder.open(checkpointFolder, keepLast);
      // Of the images as they are now: they may be gone when the last checkpoint is written.
      this.#position.digest = await digestOf(this.#dataset, 'dataset.data');
    }
    if (resume === false) {
      await this.#folder?.continueFrom(0, []);
      return undefined;
    }
    const { found, skipped } =
      typeof resume === 'string'
        ? { found: { path: resume, file: await readTrainingCheckpoint(resume) }, skipped: [] }
        : await this.#folder!.newest();
    if (found === undefined) return undefined;
    const { position, snapshot } = await fromCheckpoint(
      found.file,
      found.path,
      this.#model.config,
      this.#settings,
      this.#dataset,
    );
    await this.#folder?.continueFrom(position.step, skipped);
    await step.restore(snapshot);
    this.#position = position;
    this.#skipped = snapshot.counters[2]!;
    this.#run.emit({ type: 'resume', step: position.step, path: found.path, skipped });
    return found.path;
  }

  /** A run that ends within its warm-up never reaches its learning rate, and learns little. */
  #warnOfWarmup(): void {
    const warmup = warmupStepsOf(this.#settings, this.#totalSteps);
    if (warmup < this.#totalSteps) return;
    const reached = learningRateAt(this.#settings, this.#totalSteps - 1, this.#totalSteps).toPrecision(2);
    this.#run.emit({
      type: 'warning',
      step: this.#position.step,
      code: 'WARMUP_LONGER_THAN_RUN',
      message:
        `the warm-up of ${warmup} steps takes up the whole run of ${this.#totalSteps}: the learning rate still rises in ` +
        `its last step, to ${reached} of ${this.#settings.learningRate} (\`warmupSteps\`)`,
    });
  }

  async #loop(step: TrainingStep): Promise<void> {
    const { batchSize, seed, checkpointEvery } = this.#settings;
    const key = seedKey(seed);
    const pending: { result: Promise<StepResult | undefined>; learningRate: number; epoch: number }[] = [];
    const ended = AbortSignal.any([this.#run.stopSignal, this.#signal]);
    // A step that was not submitted, since the run ended while it waited for calls: nothing comes after it.
    let givenUp = false;
    const drain = async (leave: number) => {
      while (pending.length > leave) {
        const { result, learningRate, epoch } = pending[0]!;
        const tell = (choices: Choices) =>
          this.#run.emit({ type: 'choosing', step: this.#position.step, ...choices });
        const stepped = await whileChoosing(step, result, tell);
        if (stepped === undefined) {
          givenUp = true;
          submitted -= 1;
        } else {
          this.#record(stepped, learningRate, epoch);
        }
        pending.shift();
      }
    };
    let shuffledEpoch = -1;
    let shuffled: Uint32Array = new Uint32Array(0);
    let submitted = this.#position.step;
    let saved = submitted;
    this.#lastTime = performance.now();
    if (submitted % this.#stepsPerEpoch === 0 && this.#position.epochImages > 0) {
      // The interrupted run saved before its validation; this save replaces it, and may be the best one.
      const best = await this.#endEpoch(submitted / this.#stepsPerEpoch - 1);
      if (!(await this.#trySave(best))) saved = 0;
    }
    try {
      while (submitted < this.#totalSteps && !this.#run.stopSignal.aborted) {
        this.#signal.throwIfAborted();
        const epoch = Math.floor(submitted / this.#stepsPerEpoch);
        if (epoch !== shuffledEpoch) {
          shuffled = shuffledIndices(this.#training, seed, epoch);
          shuffledEpoch = epoch;
        }
        const index = batchIndices(shuffled, submitted % this.#stepsPerEpoch, batchSize);
        // The dataset is too large to copy, so it may have been transferred away meanwhile.
        checkBytes(this.#dataset.data, 'train: dataset.data');
        const values = gatherValues(this.#dataset, index);
        const bytes = asBytes(values, this.#dataset.values, this.#model.config.levels);
        const learningRate = learningRateAt(this.#settings, submitted, this.#totalSteps);
        const batch = { bytes, count: index.length, binarisation: { key, epoch, index } };
        const hyper = { ...this.#settings, learningRate, emaDecay: this.#emaDecay(submitted) };
        const result = step.run(batch, hyper, ended);
        // A failure is met when the step is drained; until then it must not count as unhandled.
        result.catch(() => undefined);
        pending.push({ result, learningRate, epoch });
        submitted += 1;
        await drain(1);
        if (givenUp) continue;

        const epochEnds = submitted % this.#stepsPerEpoch === 0;
        const due = checkpointEvery === 0 ? epochEnds : submitted % checkpointEvery === 0;
        if (epochEnds || due) await drain(0);
        if (givenUp) continue;
        const best = epochEnds && (await this.#endEpoch(epoch));
        if ((due || best) && (await this.#trySave(best))) saved = submitted;
      }
      await drain(0);
    } finally {
      await Promise.allSettled(pending.map(({ result }) => result));
    }
    if (saved < this.#position.step) await this.#saver?.saveLast(this.#signal);
    // Of an event that came after the last step.
    this.#run.thrownSignal.throwIfAborted();
  }

  /** Books one finished step. @throws PixelCnnError ERR_DIVERGED. */
  #record(result: StepResult, learningRate: number, epoch: number): void {
    const position = this.#position;
    const skipped = result.skipped > this.#skipped;
    this.#skipped = result.skipped;
    this.#consecutiveSkips = skipped ? this.#consecutiveSkips + 1 : 0;
    const sum = result.nats.reduce((total, value) => total + value, 0);
    const nats = sum / result.nats.length;
    position.step += 1;
    if (!skipped) {
      position.epochNats += sum;
      position.epochImages += result.nats.length;
    }
    const loss = this.#lossOf(nats);
    if (this.#lastLoss.lossOf !== 'epoch') this.#lastLoss = { lossOf: 'step', loss };
    const now = performance.now();
    const imagesPerSecond = (1000 * result.nats.length) / (now - this.#lastTime);
    this.#lastTime = now;
    this.#run.emit({
      type: 'step',
      step: position.step,
      epoch,
      ...loss,
      learningRate,
      gradientNorm: result.gradientNorm,
      skipped,
      imagesPerSecond,
      stepsPerEpoch: this.#stepsPerEpoch,
      totalSteps: this.#totalSteps,
    });
    if (this.#consecutiveSkips >= this.#settings.maxSkippedSteps) {
      throw new PixelCnnError(
        'ERR_DIVERGED',
        `train: the gradient was not finite in ${this.#consecutiveSkips} steps in a row, the last being step ${position.step}`,
        { remedy: 'lower `learningRate`, set `maxGradientNorm`, and resume from the last checkpoint' },
      );
    }
  }

  /**
   * Validates and draws samples, then tells of the epoch. Returns whether validation was the best so far. A stop
   * meanwhile leaves the epoch open: the sums stay, and a resumed run ends it first.
   */
  async #endEpoch(epoch: number): Promise<boolean> {
    const position = this.#position;
    const { step } = position;
    const { seed, samples, algorithm, protocol, emaDecay } = this.#settings;
    // A run that resumes one without an average has none before its first step.
    const weights = emaDecay > 0 && this.#model.holds.includes('ema') ? 'ema' : 'raw';
    const signal = AbortSignal.any([this.#run.stopSignal, this.#signal]);
    const { height, width } = this.#dataset;
    const draw = { count: Math.max(samples, 1), height, width, seed, weights, signal } as const;
    // That all is done is told by the validation itself.
    const onEvent = ({ done, of }: ProgressEvent) => {
      if (done < of) this.#run.emit({ type: 'validating', step, done, of });
    };
    let validation: Evaluation | undefined;
    let images: SampledImages | undefined;
    try {
      if (this.#validation !== undefined) {
        checkValidation(this.#validation);
        await this.#compareWith(`${weights} ${protocol}`);
        const options = { protocol, weights, draws: 1, seed, algorithm, signal, onEvent } as const;
        validation = await evaluateImages(this.#model, this.#validation, options);
      }
      const sampling = (done: number, of: number) => this.#run.emit({ type: 'sampling', step, done, of });
      if (samples > 0) images = await drawImages(this.#model, draw, twiceASecond(sampling));
    } catch (error) {
      this.#signal.throwIfAborted();
      if (this.#validation !== undefined) checkValidation(this.#validation);
      if (this.#run.stopSignal.aborted) return false;
      throw error;
    }
    const loss = this.#lossOf(position.epochNats / position.epochImages);
    this.#lastLoss = { lossOf: 'epoch', loss };
    this.#run.emit({ type: 'epoch', epoch, step, ...loss });
    const best =
      validation !== undefined && (position.bestNats === null || validation.nats < position.bestNats);
    if (validation !== undefined) {
      if (best) position.bestNats = validation.nats;
      const { natsPerDraw: _, ...labelled } = validation;
      this.#lastValidation = { type: 'validation', epoch, step, ...labelled, split: 'validation', best };
      this.#run.emit(this.#lastValidation);
    }
    if (images !== undefined) this.#run.emit({ type: 'sample', epoch, step, images });
    position.epochNats = 0;
    position.epochImages = 0;
    this.#lastTime = performance.now();
    return best;
  }

  /** Losses of other images, weights or another protocol are no bar to what is the best. */
  async #compareWith(measure: string): Promise<void> {
    const position = this.#position;
    this.#validationDigest ??= await digestOf(this.#validation!, 'validation.data');
    const bestOf = `${this.#validationDigest} ${measure}`;
    const other = position.bestOf !== undefined && position.bestOf !== bestOf;
    position.bestOf = bestOf;
    if (!other || position.bestNats === null) return;
    position.bestNats = null;
    this.#saver?.forgetBest();
    this.#run.emit({
      type: 'warning',
      step: position.step,
      code: 'OTHER_VALIDATION',
      message:
        'validation is of other images or weights than before, so its losses are not comparable: the best starts anew ' +
        'with this one',
    });
  }

  async #encodeCheckpoint(step: TrainingStep): Promise<Uint8Array> {
    const snapshot = await step.snapshot();
    return encodeModel(
      toCheckpoint(this.#model.config, this.#position, snapshot, this.#settings, this.#dataset),
    );
  }

  /** Returns whether the run is saved, as far as it has a folder. */
  async #trySave(best: boolean): Promise<boolean> {
    const saved = (await this.#saver?.trySave(best)) ?? true;
    this.#lastTime = performance.now();
    return saved;
  }

  /** Averages over few steps at first, so that the initial weights do not linger. */
  #emaDecay(step: number): number {
    return this.#settings.emaDecay > 0 ? Math.min(this.#settings.emaDecay, (1 + step) / (10 + step)) : 0;
  }

  #lossOf(nats: number): TrainingLoss {
    const { protocol } = this.#settings;
    return {
      nats,
      bitsPerDim: nats / (this.#dimensions * Math.LN2),
      split: 'train',
      weights: 'raw',
      protocol,
    };
  }
}

/** As the dataset, the images may have been transferred away meanwhile. */
function checkValidation({ data }: ImageBatch): void {
  checkBytes(data, 'train: validation.data');
}
