// The model: parameters on a device and what can be asked of them.
import { writeFileAtomic } from './checkpoint/atomic-file.js';
import { decodeModel, encodeModel, weightsIn } from './checkpoint/model-file.js';
import { checkCopy, copyMark, thisCopy } from './copies.js';
import type { ImageBatch, ImageValues } from './data/image-batch.js';
import { readFileBounded } from './data/read-file.js';
import { type Arena, ArenaLayout, Device } from './device/device.js';
import { allocating, check, PixelCnnError } from './errors.js';
import { MaskedConv2d } from './layers/masked-conv2d.js';
import { checkImages, copyImages } from './models/check-images.js';
import {
  configSchema,
  expectedSchema,
  layerConfigs,
  type PixelCnnConfig,
  type PixelCnnOptions,
  parseConfig,
} from './models/config.js';
import { runLogits, runNats, traceNats } from './models/likelihood.js';
import type { Network } from './models/network.js';
import { initialParameters, type NamedArrays, ParameterSet } from './models/parameters.js';
import { ProgramCache } from './models/program-cache.js';
import { chooseWeights, type Weights, weightsOption, withWeights } from './models/weights.js';
import { WeightsLock } from './models/weights-lock.js';
import { algorithms } from './ops/masked-conv2d.js';
import { parseOptions, seedOption, show, signalOption, z } from './options.js';
import type { OpTrace } from './program/program.js';
import { isUint8Array } from './realm.js';
import {
  type CompleteOptions,
  completeImages,
  type SampledImages,
  type SampleFrame,
  type SampleOptions,
  type SampleStreamOptions,
  sampleImages,
  streamImages,
} from './sample/sampler.js';

export type { Weights } from './models/weights.js';

const createOptions = configSchema.extend({
  /** The initial weights follow from it. Default 0. */
  seed: seedOption.default(0),
});
/**
 * What {@link PixelCNN.create} takes; every option has a default.
 *
 * @interface
 */
export type CreateOptions = z.input<typeof createOptions>;
const weightsOptions = z.strictObject({ weights: weightsOption });
const inferenceOptions = z.strictObject({
  /** Default `direct`: exactly causal, and the same bits as the sampler. */
  algorithm: z.enum(algorithms).default('direct'),
  /** Default: EMA where the model holds both, else what it holds; see {@link PixelCNN.weights}. */
  weights: weightsOption,
  signal: signalOption.optional(),
});
/**
 * What {@link PixelCNN.logits} and {@link PixelCNN.logLikelihood} take.
 *
 * @interface
 */
export type InferenceOptions = z.input<typeof inferenceOptions>;

export interface Logits {
  /** Unnormalised log-probabilities, in nats. */
  readonly data: Float32Array;
  /** [N, H, W, channels, levels] */
  readonly shape: readonly [number, number, number, number, number];
  /** What they were computed with. */
  readonly weights: Weights;
}

export interface LogLikelihood {
  /** -log p of each image, in nats, under the protocol `levels`. */
  readonly nats: Float64Array;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: Float64Array;
  /** What they were computed with. */
  readonly weights: Weights;
}

/** @internal What the modules that record programs need of a model. */
export interface ModelInternals {
  readonly device: Device;
  readonly config: PixelCnnConfig;
  readonly arena: Arena;
  readonly raw: ParameterSet;
  readonly ema: ParameterSet;
  readonly networks: { readonly raw: Network; readonly ema: Network };
  readonly programs: ProgramCache<{ dispose(): void }>;
  /** Set by whoever changes the parameters. What is not held has no meaning in its arena. */
  holds: readonly Weights[];
  /** Raised by whoever changes the parameters; packed weights of an older version are packed again. */
  version: number;
  /** What the numbers of its images are; undefined until it is trained. */
  values: ImageValues | undefined;
  /** Steps of the run that trained it; undefined where nobody has said, and while a run trains it. */
  step: number | undefined;
  /** A run is training it. */
  inTraining: boolean;
  readonly lock: WeightsLock;
}

/**
 * An autoregressive model of images: p(x) is the product over pixels, in raster order, of a categorical distribution
 * computed from the pixels before (van den Oord et al. 2016, "Pixel Recurrent Neural Networks").
 *
 * Every call may fail with a {@link PixelCnnError} for an argument (ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE,
 * ERR_OUT_OF_RANGE), with ERR_DISPOSED, ERR_OUT_OF_MEMORY, or ERR_CUDA and ERR_DEVICE_LOST of a GPU. Calls that take a
 * signal fail with its reason once it is aborted and, by the device's {@link DeviceLimits}, with ERR_LIMIT,
 * ERR_QUEUE_FULL or ERR_TIMEOUT; those that take images with ERR_BUFFER_SIZE, ERR_DETACHED or ERR_IMAGE_CHANNELS for
 * images that do not fit, with ERR_IMAGE_VALUES for bytes where the model takes levels, or the reverse, or numbers that
 * may be either. Those that take `weights` fail with ERR_NO_SUCH_WEIGHTS for weights that the model does not hold; those
 * that take a device or a model with ERR_TWO_COPIES for one of another installed copy of this package. What a call may
 * throw besides is said with it.
 */
export class PixelCNN {
  readonly device: Device;
  readonly config: PixelCnnConfig;
  /** Height and width of the images this model was trained on, the default size of samples. */
  imageSize: { height: number; width: number } | undefined;
  readonly #internals: ModelInternals;
  #notes: readonly string[] = [];
  #disposed = false;

  private constructor(internals: ModelInternals) {
    this.#internals = internals;
    this.device = internals.device;
    this.config = internals.config;
  }

  /**
   * What the numbers of the images are that this model was trained on, of those it takes and of those it draws:
   * `'bytes'` or `'levels'`. Undefined for a model that was not trained here: it takes either, and draws bytes.
   */
  get values(): ImageValues | undefined {
    return this.#internals.values;
  }

  /**
   * Which weights the model holds: `raw`, the trained ones, `ema`, their exponential moving average, or both. A new model
   * holds raw ones; a loaded one those of its file; a trained one raw ones, from its first step on, and both if the run
   * has an `emaDecay` above 0. Calls that are not told which to take use the average where there are both.
   */
  get weights(): readonly Weights[] {
    return [...this.internals().holds];
  }

  /**
   * A new model whose initial weights follow from `seed` (default 0) alone.
   * @throws PixelCnnError ERR_LIMIT for more than 2^28 parameters.
   */
  static async create(device: Device, options: CreateOptions = {}): Promise<PixelCNN> {
    checkDevice('PixelCNN.create', device);
    const { seed, ...rest } = parseOptions('PixelCNN.create', createOptions, options);
    const config = parseConfig('PixelCNN.create', rest);
    return allocating('PixelCNN.create', async () =>
      PixelCNN.#allocate(device, config, ['raw'], await initialParameters(layerConfigs(config), seed)),
    );
  }

  /**
   * Loads a model from a safetensors file or its bytes: one that pixelcnn saved, or a PyTorch state dict of masked
   * convolutions with ReLU between them, under any prefix (`net.`, `module.net.`, none …) and with or without mask
   * buffers; {@link notes} tells what was found and assumed. `options` is what the caller expects of the model: a file
   * that says otherwise is refused. A file that does not say which weights it holds counts as `raw`: the weights as they
   * stand in it. A state dict says `ema` by AveragedModel's `n_averaged` or by a prefix such as `ema_model.`, and holds
   * both where all its weights and biases stand under `ema.` once more.
   * @throws PixelCnnError CKPT_FORMAT for a file of another kind, which is named; CKPT_MASK for masks of another model;
   * CKPT_CONFIG for `options` that contradict the file, naming both values; other CKPT_* for a file that is malformed or
   * does not fit; or the code of the system's error for the path (ENOENT, EACCES …).
   */
  static async load(
    device: Device,
    source: string | Uint8Array,
    options: PixelCnnOptions = {},
  ): Promise<PixelCNN> {
    checkDevice('PixelCNN.load', device);
    const expected = parseOptions('PixelCNN.load', expectedSchema, options);
    check(typeof source === 'string' || isUint8Array(source), 'ERR_INVALID_ARG_TYPE', () => {
      return `PixelCNN.load: expected a path or a Uint8Array, got ${show(source)}`;
    });
    return allocating('PixelCNN.load', async () => {
      const bytes = typeof source === 'string' ? await readFileBounded(source) : source;
      const file = decodeModel(bytes, expected, typeof source === 'string' ? source : undefined);
      const model = await PixelCNN.#allocate(
        device,
        file.config,
        weightsIn(file),
        file.parameters,
        file.average,
      );
      model.imageSize = file.imageSize;
      model.#internals.values = file.values;
      model.#internals.step = file.step;
      model.#notes = file.notes;
      return model;
    });
  }

  static async #allocate(
    device: Device,
    config: PixelCnnConfig,
    holds: readonly Weights[],
    parameters: NamedArrays,
    average: NamedArrays = parameters,
  ): Promise<PixelCNN> {
    const configs = layerConfigs(config);
    const layout = new ArenaLayout();
    const raw = new ParameterSet(layout, configs, 'raw');
    const ema = new ParameterSet(layout, configs, 'ema');
    const arena = await layout.allocate(device);
    const bind = (set: ParameterSet): Network => {
      const layers = set.layers.map((layer) => new MaskedConv2d(layer.config, layer));
      return { config, hidden: layers.slice(0, -1), head: layers.at(-1)! };
    };
    const networks = { raw: bind(raw), ema: bind(ema) };
    try {
      const values = raw.encode(parameters);
      const averages = average === parameters ? values : ema.encode(average);
      await Promise.all([arena.write(raw.flat, values), arena.write(ema.flat, averages)]);
    } catch (error) {
      arena.release();
      throw error;
    }
    return new PixelCNN({
      device,
      config,
      arena,
      raw,
      ema,
      networks,
      programs: new ProgramCache(6),
      holds,
      version: 0,
      values: undefined,
      step: undefined,
      inTraining: false,
      lock: new WeightsLock(),
    });
  }

  /**
   * Saves weights and configuration as safetensors under PyTorch's names, atomically and durably: one set of weights,
   * and which it is. Default: EMA where the model holds both, else what it holds.
   * @throws PixelCnnError CKPT_NONFINITE for weights that are not finite, or the code of the system's error (ENOSPC,
   * EACCES …).
   */
  async save(path: string, options: { weights?: Weights } = {}): Promise<void> {
    check(typeof path === 'string' && path !== '' && !path.includes('\0'), 'ERR_INVALID_ARG_VALUE', () => {
      return `save: path must be a file name, got ${show(path)}`;
    });
    const parsed = parseOptions('save', weightsOptions, options);
    const weights = chooseWeights('save', this.internals(), parsed.weights);
    await writeFileAtomic(
      path,
      encodeModel({
        config: this.config,
        imageSize: this.imageSize,
        values: this.values,
        step: this.#internals.step,
        weights,
        parameters: await this.parameters(weights),
      }),
    );
  }

  /**
   * All parameters by PyTorch's names (`net.0.weight` …), weights OIHW. A copy. Default: EMA where the model holds both,
   * else what it holds.
   */
  async parameters(weights?: Weights): Promise<NamedArrays> {
    const model = this.internals();
    const parsed = parseOptions('parameters', weightsOptions, { weights });
    return model[chooseWeights('parameters', model, parsed.weights)].read(model.arena);
  }

  /**
   * Logits of every pixel given the pixels before it: those of `images` (N, H, W, channels).
   * @throws PixelCnnError ERR_LIMIT also for an image whose logits take 2 GiB or more.
   */
  async logits(images: ImageBatch, options: InferenceOptions = {}): Promise<Logits> {
    const model = this.internals();
    const parsed = parseOptions('logits', inferenceOptions, options);
    chooseWeights('logits', model, parsed.weights); // refused at once, chosen again when its turn has come
    const given = checkImages('logits: images', images, model);
    return this.device.calls.run('logits', given, parsed.signal, (signal) => {
      const copy = copyImages(given);
      return withWeights('logits', model, parsed.weights, signal, (weights) =>
        runLogits(model, copy, { ...parsed, weights, signal }),
      );
    });
  }

  /** The exact negative log-likelihood of each image, in nats and bits per dimension. */
  async logLikelihood(images: ImageBatch, options: InferenceOptions = {}): Promise<LogLikelihood> {
    const model = this.internals();
    const parsed = parseOptions('logLikelihood', inferenceOptions, options);
    chooseWeights('logLikelihood', model, parsed.weights);
    const given = checkImages('logLikelihood: images', images, model);
    const scale = 1 / (given.height * given.width * given.channels * Math.LN2);
    return this.device.calls.run('logLikelihood', given, parsed.signal, (signal) => {
      const copy = copyImages(given);
      return withWeights('logLikelihood', model, parsed.weights, signal, async (weights) => {
        const nats = await runNats(model, copy, { ...parsed, weights, signal });
        return { nats, bitsPerDim: nats.map((value) => value * scale), weights };
      });
    });
  }

  /**
   * Runs one likelihood pass over `images` op by op and tells, for each op, its label, time, result shape and how
   * many values it wrote that are NaN or infinite: for finding out where a model is slow or goes wrong.
   * @throws PixelCnnError ERR_LIMIT also for images of 2 GiB or more, which it takes all at once.
   */
  async trace(images: ImageBatch, options: InferenceOptions = {}): Promise<OpTrace[]> {
    const model = this.internals();
    const parsed = parseOptions('trace', inferenceOptions, options);
    chooseWeights('trace', model, parsed.weights);
    const given = checkImages('trace: images', images, model);
    return this.device.calls.run('trace', given, parsed.signal, (signal) => {
      const copy = copyImages(given);
      return withWeights('trace', model, parsed.weights, signal, (weights) =>
        traceNats(model, copy, { ...parsed, weights, signal }),
      );
    });
  }

  /**
   * Draws images. An image depends on the weights, the seed, the temperature and its index alone: not on the number
   * of images drawn with it, on threads or on batches.
   * @throws PixelCnnError ERR_BUFFER_SIZE for `uniforms` of another length; ERR_LIMIT also for an image of more than
   * 2^22 values.
   */
  async sample(options: SampleOptions = {}): Promise<SampledImages> {
    return sampleImages(this.internals(), options, this.imageSize);
  }

  /**
   * Draws the pixels that are not `known`, each given those before it in raster order, known or drawn. The known pixels
   * stay as they are; those after a pixel do not inform it.
   * @throws PixelCnnError ERR_BUFFER_SIZE also for `known` of another length than the images' pixels; ERR_LIMIT also
   * for an image of more than 2^22 values.
   */
  async complete(options: CompleteOptions): Promise<SampledImages> {
    return completeImages(this.internals(), options);
  }

  /**
   * As {@link sample}, yielding the canvas as it fills. Arguments are checked at once; the call begins, and may be
   * refused by the device's limits, with the first `next()`.
   * @throws PixelCnnError as {@link sample}; ERR_MODEL_IN_USE where a training run changes the weights meanwhile.
   */
  sampleStream(options: SampleStreamOptions = {}): AsyncGenerator<SampleFrame, SampledImages> {
    return streamImages(this.internals(), options, this.imageSize);
  }

  /** Frees the model's memory once work in progress has ended. A second call does nothing. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#internals.programs.close();
    this.#internals.arena.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /**
   * What was found and what was assumed when the model was loaded from a PyTorch state dict, which does not tell all, a
   * sentence each. Empty for a model that was created here or that pixelcnn saved.
   */
  get notes(): readonly string[] {
    return this.#notes;
  }

  /** @internal Which copy of the package it is of. */
  get [copyMark]() {
    return thisCopy;
  }

  /** @internal @throws PixelCnnError ERR_DISPOSED. */
  internals(): ModelInternals {
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

/** @internal */
export function checkDevice(caller: string, device: unknown): asserts device is Device {
  if (!Device.isDevice(device)) checkCopy(caller, 'device', device);
  check(Device.isDevice(device), 'ERR_INVALID_ARG_TYPE', () => {
    return `${caller}: device must come from openDevice, got ${show(device)}`;
  });
  device.checkOpen();
}
