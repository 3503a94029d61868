// Sampling, completion and streams as calls: their options, checked, made into a job that batches.ts draws.
import { randomBytes } from 'node:crypto';
import { checkBytes, plainBytes } from '../data/check-bytes.js';
import type { ImageBatch, ImageValues } from '../data/image-batch.js';
import { levelOfByte } from '../data/levels.js';
import { check, PixelCnnError } from '../errors.js';
import { checkImages, copyImages } from '../models/check-images.js';
import { chooseWeights, weightsOption, withWeights } from '../models/weights.js';
import { frontSteps } from '../ops/front.js';
import { parseOptions, seedOption, show, signalOption, z } from '../options.js';
import type { ModelInternals } from '../pixelcnn.js';
import { isFloat32Array, isUint8Array } from '../realm.js';
import { draw, type Job, type SampledImages, type SampleFrame } from './draw.js';
import { frontOf } from './front-sampler.js';

export type { SampledImages, SampleFrame } from './draw.js';

const common = {
  /** Same seed, same images. When omitted a random integer below 2^53; the result tells which. */
  seed: seedOption.optional(),
  /** Divides the logits; 0 takes the most likely level. Default 1. */
  temperature: z.number().min(0).max(1e6).default(1),
  /** Index of the first image: images 5 … 9 of a seed are drawn with firstIndex 5 and count 5. Default 0. */
  firstIndex: z
    .int()
    .min(0)
    .max(2 ** 31)
    .default(0),
  /** Default: EMA where the model holds both, else what it holds; see {@link PixelCNN.weights}. */
  weights: weightsOption,
  /** The wavefront computes pixels one front at a time, which only the direct algorithm can. */
  algorithm: z.literal('direct').default('direct'),
  signal: signalOption.optional(),
};
const sizes = {
  /** Number of images. Default 1. */
  count: z.int().min(1).max(65536).default(1),
  /** Default: that of the training images. */
  height: z.int().min(1).max(4096).optional(),
  width: z.int().min(1).max(4096).optional(),
};
const sizesSchema = z.strictObject(sizes);
const sampleSchema = z.strictObject({
  ...sizes,
  ...common,
  /** Float32Array [N, H, W, channels] of numbers in [0, 1) to use instead of Philox; the seed then plays no part. */
  uniforms: z.custom<Float32Array>(isFloat32Array, 'expected a Float32Array').optional(),
});
const streamSchema = z.strictObject({
  ...sizes,
  ...common,
  /** A frame after this many steps of the wavefront. Default: about 40 frames. */
  stepsPerFrame: z.int().min(1).max(65536).optional(),
});
const completeSchema = z.strictObject({
  ...common,
  images: z.custom<ImageBatch>(
    (value) => typeof value === 'object' && value !== null,
    'expected an ImageBatch',
  ),
  /** Uint8Array [N, H, W], non-zero where the pixel is known. */
  known: z.custom<Uint8Array>(isUint8Array, 'expected a Uint8Array'),
});

/**
 * What {@link PixelCNN.sample} takes.
 *
 * @interface
 */
export type SampleOptions = z.input<typeof sampleSchema>;
/**
 * What {@link PixelCNN.sampleStream} takes.
 *
 * @interface
 */
export type SampleStreamOptions = z.input<typeof streamSchema>;
/**
 * What {@link PixelCNN.complete} takes.
 *
 * @interface
 */
export type CompleteOptions = z.input<typeof completeSchema>;

/** @internal */
export async function sampleImages(
  model: ModelInternals,
  options: SampleOptions,
  size: { height: number; width: number } | undefined,
): Promise<SampledImages> {
  const job = sampleJob(model, options, size);
  return model.device.calls.run('sample', job, job.signal, (signal) =>
    withWeights('sample', model, job.asked, signal, (weights) =>
      finish(draw(model, { ...job, weights, signal })),
    ),
  );
}

/**
 * @internal The same for work that is no call of its own, like the samples of a training run; `onSteps` is told the
 * steps of the wavefront that are done, and all of them.
 */
export function drawImages(
  model: ModelInternals,
  options: SampleOptions,
  onSteps?: (done: number, of: number) => void,
): Promise<SampledImages> {
  const job = sampleJob(model, options, undefined);
  return finish(draw(model, { ...job, ...(onSteps !== undefined && { onSteps }) }));
}

function sampleJob(
  model: ModelInternals,
  options: SampleOptions,
  size: { height: number; width: number } | undefined,
): Job {
  const parsed = parseOptions('sample', sampleSchema, options);
  const job = newJob(model, 'sample', parsed, size);
  if (parsed.uniforms !== undefined) {
    const expected = job.count * job.height * job.width * model.config.channels;
    check(parsed.uniforms.length === expected, 'ERR_BUFFER_SIZE', () => {
      return `sample: uniforms must have count*height*width*channels = ${expected} values, got ${parsed.uniforms?.length}`;
    });
    const wrong = parsed.uniforms.findIndex((u) => !(u >= 0 && u < 1));
    check(wrong < 0, 'ERR_OUT_OF_RANGE', () => {
      return `sample: uniforms must be in [0, 1), got ${parsed.uniforms?.[wrong]} at ${wrong}`;
    });
    job.uniforms = parsed.uniforms.slice();
  }
  return job;
}

/** @internal */
export function streamImages(
  model: ModelInternals,
  options: SampleStreamOptions,
  size: { height: number; width: number } | undefined,
): AsyncGenerator<SampleFrame, SampledImages> {
  const parsed = parseOptions('sampleStream', streamSchema, options);
  const job = newJob(model, 'sampleStream', parsed, size);
  job.stepsPerFrame =
    parsed.stepsPerFrame ?? Math.ceil(frontSteps(frontOf(model), job.height, job.width) / 40);
  return drawAsCall(model, job);
}

/** The call begins with the first frame that is asked for. */
async function* drawAsCall(model: ModelInternals, job: Job): AsyncGenerator<SampleFrame, SampledImages> {
  const call = model.device.calls.admit('sampleStream', job, job.signal);
  try {
    return yield* draw(model, { ...job, signal: call.signal });
  } finally {
    call.end();
  }
}

/** @internal */
export async function completeImages(
  model: ModelInternals,
  options: CompleteOptions,
): Promise<SampledImages> {
  const parsed = parseOptions('complete', completeSchema, options);
  const given = checkImages('complete: images', parsed.images, model);
  const { count, height, width } = given;
  const { channels, levels } = model.config;
  checkBytes(parsed.known, 'complete: known');
  check(parsed.known.length === count * height * width, 'ERR_BUFFER_SIZE', () => {
    return `complete: known must have count*height*width = ${count * height * width} values, got ${parsed.known.length}`;
  });
  const job = newJob(model, 'complete', { ...parsed, count, height, width }, undefined);
  return model.device.calls.run('complete', job, job.signal, async (signal) => {
    const isLevel = given.values === 'levels';
    const levelOf = Uint8Array.from({ length: 256 }, (_, value) =>
      isLevel ? value : levelOfByte(value, levels),
    );
    const pixels = plainBytes(parsed.known).slice();
    const { data: original } = copyImages(given);
    const level = new Uint8Array(original.length);
    for (let i = 0; i < level.length; i += 1) level[i] = levelOf[original[i]!]!;
    const values: ImageValues = isLevel ? 'levels' : 'bytes';
    const drawing = { ...job, known: { pixels, level }, values, signal };
    const completed = await withWeights('complete', model, job.asked, signal, (weights) =>
      finish(draw(model, { ...drawing, weights })),
    );
    // Known pixels keep the byte they had, not the byte their level stands for.
    for (let pixel = 0; pixel < pixels.length; pixel += 1) {
      if (pixels[pixel] === 0) continue;
      const at = pixel * channels;
      for (let i = at; i < at + channels; i += 1) completed.data[i] = original[i]!;
    }
    return completed;
  });
}

function newJob(
  model: ModelInternals,
  caller: string,
  options: z.output<typeof streamSchema>,
  size: { height: number; width: number } | undefined,
): Job {
  const height = options.height ?? size?.height;
  const width = options.width ?? size?.width;
  if (height === undefined || width === undefined) {
    throw new PixelCnnError(
      'ERR_INVALID_ARG_VALUE',
      `${caller}: height and width are needed, got ${show(height)} and ${show(width)}`,
      { remedy: 'pass height and width; only a model trained on images knows their size' },
    );
  }
  // The model's own size is a field that anyone may set.
  parseOptions(caller, sizesSchema, { height, width });
  check(height * width * model.config.channels <= 2 ** 22, 'ERR_LIMIT', () => {
    return `${caller}: images of ${height}x${width} exceed the limit of ${2 ** 22} values per image`;
  });
  options.signal?.throwIfAborted();
  return {
    count: options.count,
    height,
    width,
    seed: options.seed ?? randomSeed(),
    temperature: options.temperature,
    firstIndex: options.firstIndex,
    weights: chooseWeights(caller, model, options.weights),
    asked: options.weights,
    signal: options.signal,
    values: model.values ?? 'bytes',
  };
}

/** A random integer below 2^53: the largest that JSON and JavaScript's numbers keep. */
export function randomSeed(): number {
  return Number(randomBytes(8).readBigUInt64LE() >> 11n);
}

async function finish(frames: AsyncGenerator<SampleFrame, SampledImages>): Promise<SampledImages> {
  for (;;) {
    const { done, value } = await frames.next();
    if (done) return value;
  }
}
