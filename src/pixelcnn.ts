// Defines PixelCNN, the class through which users create, load, evaluate, sample and save models.
import { loadModel, saveModel } from './checkpoint/stored-model.js';
import { checkCopy, copyMark, thisCopy } from './copies.js';
import type { ImageBatch, ImageValues } from './data/image-batch.js';
import type { Protocol } from './data/protocol.js';
import { checkDevice, type Device } from './device/device.js';
import { allocating, check, PixelCnnError } from './errors.js';
import { networkOf } from './models/architectures.js';
import { callOnImages } from './models/call-on-images.js';
import { type Classification, type ClassifyOptions, classifyImages } from './models/classify.js';
import { expectedSchema, type PixelCnnConfig, type PixelCnnOptions } from './models/config.js';
import { initialParameters } from './models/initial-values.js';
import { type Logits, type LogLikelihood, runLogits, runNats, traceNats } from './models/likelihood.js';
import { Model } from './models/model.js';
import { type CreateOptions, createSchema, type InferenceOptions, weightsSchema } from './models/options.js';
import type { NamedArrays } from './models/parameters.js';
import { completedCondition, parseConfig } from './models/parse-config.js';
import { chooseWeights, type Weights } from './models/weights.js';
import { parseOptions } from './options.js';
import type { OpTrace } from './program/program.js';
import { isUint8Array } from './realm.js';
import type { SampledImages, SampleFrame } from './sample/draw.js';
import type { CompleteOptions, SampleOptions, SampleStreamOptions } from './sample/options.js';
import { completeImages, sampleImages, streamImages } from './sample/sampler.js';
import { show } from './show.js';

/**
 * An autoregressive model of images: p(x) is the product over pixels, in raster order, of a categorical distribution
 * computed from the pixels before (van den Oord et al. 2016, "Pixel Recurrent Neural Networks").
 *
 * Calls fail with a {@link PixelCnnError}, whose codes are explained in docs/errors.md, or with the reason of a signal
 * that is aborted. Arguments, images that do not fit the model and weights that it does not hold are refused before any
 * work is done, and so are calls beyond the device's {@link DeviceLimits}. Errors that are particular to a call are
 * listed with it.
 */
export class PixelCNN {
  readonly device: Device;
  readonly config: PixelCnnConfig;
  readonly #internals: Model;
  #notes: readonly string[] = [];
  #disposed = false;

  private constructor(internals: Model) {
    this.#internals = internals;
    this.device = internals.device;
    this.config = internals.config;
  }

  /** The height and width of the images that this model was trained on. Samples have this size by default. */
  get imageSize(): { height: number; width: number } | undefined {
    return this.#internals.imageSize;
  }

  set imageSize(size: { height: number; width: number } | undefined) {
    this.#internals.imageSize = size;
  }

  /**
   * Whether the images that this model was trained on hold `'bytes'` or `'levels'`. It takes and draws images of the same
   * kind. Undefined if that is not known, as for a new model, which takes either and draws bytes.
   */
  get values(): ImageValues | undefined {
    return this.#internals.values;
  }

  /**
   * The names of the classes that the model is given, that of class 0 first. Training sets them from the images'
   * `classNames`. Undefined for a model without classes, or whose classes have no names.
   */
  get classNames(): string[] | undefined {
    return this.#internals.classNames?.slice();
  }

  /**
   * How the images that this model was trained on became levels: `'levels'`, `'threshold'` or `'dynamic'`. Undefined if
   * that is not known.
   */
  get protocol(): Protocol | undefined {
    return this.#internals.protocol;
  }

  /**
   * The weights that the model holds: `raw`, the trained ones, `ema`, their exponential moving average, or both. A new
   * model holds raw weights, and a loaded one those of its file. From the first step of a training run on, the model holds
   * raw weights, and both if the run's `emaDecay` is above 0. If it holds both, calls use the average by default.
   */
  get weights(): readonly Weights[] {
    return [...this.internals().holds];
  }

  /**
   * Creates a model whose initial weights follow from `seed` (default 0) alone.
   * @throws PixelCnnError ERR_LIMIT for more than 2^28 parameters.
   */
  static async create(device: Device, options: CreateOptions = {}): Promise<PixelCNN> {
    checkDevice('PixelCNN.create', device);
    const { seed, ...rest } = parseOptions('PixelCNN.create', createSchema, options);
    const config = parseConfig('PixelCNN.create', rest);
    return allocating('PixelCNN.create', async () => {
      const parameters = await initialParameters(networkOf(config).parameters, seed);
      return new PixelCNN(await Model.create(device, config, { parameters, holds: ['raw'] }));
    });
  }

  /**
   * Loads a model from a safetensors file or its bytes, or a pretrained model of the package by its name:
   * `'pixelcnn:digits'` or `'pixelcnn:fashion'`, which models/README.md describes. Without `pixelcnn:` the name means the
   * pretrained model where no file or folder is called like it. `options` are what the caller expects of the model: a file
   * that says otherwise is refused.
   *
   * A file is one that pixelcnn saved, or a PyTorch state dict of masked convolutions with ReLU between them, under any
   * prefix (`net.`, `module.net.`, none …) and with or without mask buffers; {@link notes} says what was found in it and
   * what was assumed.
   *
   * A file that does not say which weights it holds counts as `raw`. A state dict holds `ema` if it has AveragedModel's
   * `n_averaged` or a prefix such as `ema_model.`, and both if it has all weights and biases a second time under `ema.`.
   * @throws PixelCnnError ENOENT for a path without a file; ERR_NO_MODEL for a name after `pixelcnn:` that no pretrained
   * model has; CKPT_FORMAT for a file of another kind, which is named; CKPT_MASK for masks of another model;
   * CKPT_CONFIG for `options` that contradict the file; other CKPT_* codes for a file that is malformed or does not fit.
   */
  static async load(
    device: Device,
    source: string | Uint8Array,
    options: PixelCnnOptions = {},
  ): Promise<PixelCNN> {
    checkDevice('PixelCNN.load', device);
    const expected = parseOptions('PixelCNN.load', expectedSchema, options);
    if (expected.condition !== undefined) completedCondition('PixelCNN.load', expected.condition);
    check(typeof source === 'string' || isUint8Array(source), 'ERR_INVALID_ARG_TYPE', () => {
      return `PixelCNN.load: expected a path, the name of a pretrained model or a Uint8Array, got ${show(source)}`;
    });
    return allocating('PixelCNN.load', async () => {
      const { model, notes } = await loadModel(device, source, expected);
      const loaded = new PixelCNN(model);
      loaded.#notes = notes;
      return loaded;
    });
  }

  /**
   * Saves the configuration and one set of weights as a safetensors file with PyTorch's names. The file says which weights
   * they are, by default EMA if the model holds both. It is written completely or not at all, even if the power fails.
   * @throws PixelCnnError CKPT_NONFINITE for weights that are not finite.
   */
  async save(path: string, options: { weights?: Weights } = {}): Promise<void> {
    check(typeof path === 'string' && path !== '' && !path.includes('\0'), 'ERR_INVALID_ARG_VALUE', () => {
      return `save: path must be a file name, got ${show(path)}`;
    });
    const parsed = parseOptions('save', weightsSchema, options);
    const model = this.internals();
    await saveModel(model, path, chooseWeights('save', model, parsed.weights));
  }

  /**
   * Copies all parameters, by PyTorch's names (`net.0.weight` …) and with weights in OIHW. Default: the EMA weights if the
   * model holds both.
   */
  async parameters(weights?: Weights): Promise<NamedArrays> {
    const model = this.internals();
    const parsed = parseOptions('parameters', weightsSchema, { weights });
    return model[chooseWeights('parameters', model, parsed.weights)].read(model.arena);
  }

  /**
   * Computes the logits of every pixel of `images` (N, H, W, channels), given the pixels before it and the images'
   * condition, if the model has one.
   * @throws PixelCnnError ERR_LIMIT also for an image whose logits take 2 GiB or more.
   */
  async logits(images: ImageBatch, options: InferenceOptions = {}): Promise<Logits> {
    return callOnImages('logits', this.internals(), images, options, runLogits);
  }

  /** Computes the exact negative log-likelihood of each image, in nats and bits per dimension. */
  async logLikelihood(images: ImageBatch, options: InferenceOptions = {}): Promise<LogLikelihood> {
    return callOnImages('logLikelihood', this.internals(), images, options, async (model, given, forward) => {
      const nats = await runNats(model, given, forward);
      const scale = 1 / (given.height * given.width * given.channels * Math.LN2);
      return { nats, bitsPerDim: nats.map((value) => value * scale), weights: forward.weights };
    });
  }

  /**
   * Runs one likelihood pass over `images` op by op, to find out where a model is slow or goes wrong: for each op it
   * resolves with its label, its time, the shape of its result and how many of its values are NaN or infinite.
   * @throws PixelCnnError ERR_LIMIT also for images of 2 GiB or more, which it takes all at once.
   */
  async trace(images: ImageBatch, options: InferenceOptions = {}): Promise<OpTrace[]> {
    return callOnImages('trace', this.internals(), images, options, traceNats);
  }

  /**
   * Computes, for a model with classes, the probability of each class given each image, if all classes are equally
   * frequent: p(class | x) is proportional to p(x | class). It takes a likelihood pass for every class.
   * @throws PixelCnnError ERR_CONDITION for a model without classes; ERR_LIMIT also for images times classes beyond the
   * device's `maxPixels`.
   */
  async classify(images: ImageBatch, options: ClassifyOptions = {}): Promise<Classification> {
    return classifyImages(this.internals(), images, options);
  }

  /**
   * Draws images. An image depends on the weights, the seed, the temperature and its index alone, and not on the images
   * that are drawn with it or on the number of threads.
   * @throws PixelCnnError ERR_BUFFER_SIZE for `uniforms` of another length; ERR_LIMIT also for an image of more than
   * 2^22 values.
   */
  async sample(options: SampleOptions = {}): Promise<SampledImages> {
    return sampleImages(this.internals(), options);
  }

  /**
   * Draws the pixels that are not `known`, each given the known and drawn ones before it in raster order. A known pixel
   * stays as it is; it has no influence on pixels before it.
   * @throws PixelCnnError ERR_BUFFER_SIZE also for `known` of another length than the images' pixels; ERR_LIMIT also
   * for an image of more than 2^22 values.
   */
  async complete(options: CompleteOptions): Promise<SampledImages> {
    return completeImages(this.internals(), options);
  }

  /**
   * Draws images like {@link sample} and yields the canvas as it fills. Arguments are checked at once. The call begins
   * with the first `next()`, when the device's limits may refuse it.
   * @throws PixelCnnError as {@link sample}; ERR_MODEL_IN_USE if a training run changes the weights meanwhile.
   */
  sampleStream(options: SampleStreamOptions = {}): AsyncGenerator<SampleFrame, SampledImages> {
    return streamImages(this.internals(), options);
  }

  /** Frees the model's memory once work in progress has ended. A second call does nothing. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#internals.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /**
   * Sentences about what was found and what was assumed when the model was loaded from a PyTorch state dict, which does
   * not say everything about its model. Empty for a model that was created here or that pixelcnn saved.
   */
  get notes(): readonly string[] {
    return this.#notes;
  }

  /** @internal Identifies the copy of the package that made the model. */
  get [copyMark]() {
    return thisCopy;
  }

  /** @internal The model behind this object. @throws PixelCnnError ERR_DISPOSED. */
  internals(): Model {
    check(
      #internals in this,
      'ERR_ILLEGAL_INVOCATION',
      () => 'this method was called on an object that is no PixelCNN',
    );
    if (this.#disposed) throw new PixelCnnError('ERR_DISPOSED', 'the model has been disposed');
    this.device.checkOpen();
    return this.#internals;
  }
}

/** @internal Returns the model behind a {@link PixelCNN}. @throws PixelCnnError for anything else, and ERR_DISPOSED. */
export function checkModel(caller: string, model: unknown): Model {
  if (!(model instanceof PixelCNN)) checkCopy(caller, 'model', model);
  check(model instanceof PixelCNN, 'ERR_INVALID_ARG_TYPE', () => {
    return `${caller}: model must be a PixelCNN, got ${show(model)}`;
  });
  return model.internals();
}
