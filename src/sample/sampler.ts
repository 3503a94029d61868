// Checks the options of sampling, streaming and completing images, and makes them into a job that draw.ts draws.
import { randomBytes } from 'node:crypto';
import { checkBytes, plainBytes } from '../data/check-array.js';
import type { ImageBatch, ImageValues } from '../data/image-batch.js';
import { levelOfByte } from '../data/levels.js';
import { check, PixelCnnError } from '../errors.js';
import { checkImages, copyImages } from '../models/check-images.js';
import { conditionOf } from '../models/condition.js';
import { conditionText } from '../models/config.js';
import {
  conditionField,
  type GivenCondition,
  givenCondition,
  type ImageConditions,
  noCondition,
} from '../models/given-condition.js';
import type { Model } from '../models/model.js';
import { chooseWeights, withWeights } from '../models/weights.js';
import { parseOptions, type z } from '../options.js';
import { frontSteps } from '../program/front.js';
import { show } from '../show.js';
import { draw, type Job, type SampledImages, type SampleFrame } from './draw.js';
import {
  type CompleteOptions,
  completeSchema,
  type SampleOptions,
  type SampleStreamOptions,
  sampleSchema,
  sizesSchema,
  streamSchema,
} from './options.js';
import { passesOf } from './passes.js';

/** @internal Draws images, as {@link PixelCNN.sample}. */
export async function sampleImages(model: Model, options: SampleOptions): Promise<SampledImages> {
  const job = sampleJob(model, options);
  return model.device.calls.run('sample', job, job.signal, (signal) =>
    withWeights('sample', model, job.asked, signal, (weights) =>
      finish(draw(model, { ...job, weights, signal })),
    ),
  );
}

/**
 * @internal Draws images within another call, e.g. the samples of a training run. `onSteps` is called with the number of
 * the wavefront's steps that are done, and of all of them.
 */
export function drawImages(
  model: Model,
  options: SampleOptions,
  onSteps?: (done: number, of: number) => void,
): Promise<SampledImages> {
  const job = sampleJob(model, options);
  return finish(draw(model, { ...job, ...(onSteps !== undefined && { onSteps }) }));
}

function sampleJob(model: Model, options: SampleOptions): Job {
  const parsed = parseOptions('sample', sampleSchema, options);
  const job = newJob(model, 'sample', parsed);
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

/** @internal Draws images and yields them as they fill, as {@link PixelCNN.sampleStream}. */
export function streamImages(
  model: Model,
  options: SampleStreamOptions,
): AsyncGenerator<SampleFrame, SampledImages> {
  const parsed = parseOptions('sampleStream', streamSchema, options);
  const job = newJob(model, 'sampleStream', parsed);
  return drawAsCall(model, job, parsed.stepsPerFrame);
}

/** Draws as a call that begins when the first frame is asked for. */
async function* drawAsCall(
  model: Model,
  job: Job,
  asked: number | undefined,
): AsyncGenerator<SampleFrame, SampledImages> {
  const call = model.device.calls.admit('sampleStream', job, job.signal);
  try {
    const { height, width } = job;
    const stepsPerFrame = asked ?? Math.ceil(frontSteps(passesOf(model, width).front, height, width) / 40);
    return yield* draw(model, { ...job, stepsPerFrame, signal: call.signal });
  } finally {
    call.end();
  }
}

/** @internal Draws the pixels that are not known, as {@link PixelCNN.complete}. */
export async function completeImages(model: Model, options: CompleteOptions): Promise<SampledImages> {
  const parsed = parseOptions('complete', completeSchema, options);
  const given = checkImages('complete: images', parsed.images, model);
  const { count, height, width } = given;
  const { channels, levels } = model.config;
  checkBytes(parsed.known, 'complete: known');
  check(parsed.known.length === count * height * width, 'ERR_BUFFER_SIZE', () => {
    return `complete: known must have count*height*width = ${count * height * width} values, got ${parsed.known.length}`;
  });
  const job = newJob(model, 'complete', { ...parsed, count, height, width }, given);
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
    // Known pixels keep their byte. Their level would give back a rounded one.
    for (let pixel = 0; pixel < pixels.length; pixel += 1) {
      if (pixels[pixel] === 0) continue;
      const at = pixel * channels;
      for (let i = at; i < at + channels; i += 1) completed.data[i] = original[i]!;
    }
    return completed;
  });
}

/** Makes a job of checked options. `images` may bring the condition. */
function newJob(
  model: Model,
  caller: string,
  options: z.output<typeof streamSchema>,
  images?: ImageBatch,
): Job {
  const height = options.height ?? model.imageSize?.height;
  const width = options.width ?? model.imageSize?.width;
  if (height === undefined || width === undefined) {
    throw new PixelCnnError(
      'ERR_INVALID_ARG_VALUE',
      `${caller}: height and width are needed, got ${show(height)} and ${show(width)}`,
      { remedy: 'pass height and width; only a model trained on images knows their size' },
    );
  }
  // The size may come from `model.imageSize`, which users can set to anything.
  parseOptions(caller, sizesSchema, { height, width });
  check(height * width * model.config.channels <= 2 ** 22, 'ERR_LIMIT', () => {
    return `${caller}: images of ${height}x${width} exceed the limit of ${2 ** 22} values per image`;
  });
  options.signal?.throwIfAborted();
  const condition = conditionOfJob(model, caller, options, images, { height, width });
  const { guidance } = options;
  const count = options.count ?? (condition === undefined ? 1 : condition.values.length / condition.perImage);
  return {
    count,
    condition,
    guidance,
    given: () => conditionFields(model, condition),
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

/**
 * Returns the condition of a job's images, which is none for all of them with a guidance of 0.
 * @throws PixelCnnError ERR_CONDITION also for a guidance that needs images of no condition in a model without them.
 */
function conditionOfJob(
  model: Model,
  caller: string,
  options: z.output<typeof streamSchema>,
  images: ImageBatch | undefined,
  size: { readonly height: number; readonly width: number },
): GivenCondition | undefined {
  const { guidance, count } = options;
  const condition = conditionOf(model.config);
  check(guidance === 1 || condition?.none === true, 'ERR_CONDITION', () => {
    const has = `this one is given ${conditionText(model.config.condition)}`;
    return `${caller}: \`guidance\` ${guidance} needs a model that has learnt to go without its condition (\`none\`), ${has}`;
  });
  const field = condition && conditionField[condition.kind];
  const isGiven = field !== undefined && (options[field] ?? images?.[field]) !== undefined;
  if (condition !== undefined && guidance === 0 && !isGiven) return noCondition(condition, count ?? 1, size);
  const given = givenCondition(caller, model, options, images, { count, ...size });
  if (condition === undefined || given === undefined || guidance !== 0) return given;
  return noCondition(condition, given.values.length / given.perImage, size);
}

/**
 * Copies a condition into the fields of an {@link ImageBatch}. Images of no condition have none, and without a name for
 * every label there are no names.
 */
function conditionFields({ config, classNames }: Model, given: GivenCondition | undefined): ImageConditions {
  if (given === undefined || given.none) return {};
  if (given.kind !== 'classes') return { [conditionField[given.kind]]: given.values.slice() };
  const labels = (config.condition!.classes! > 256 ? Uint16Array : Uint8Array).from(given.values);
  const named = classNames !== undefined && labels.every((label) => label < classNames.length);
  return { labels, ...(named && { classNames: [...classNames] }) };
}

/** Returns a random integer below 2^53, the largest that JSON and JavaScript's numbers represent exactly. */
export function randomSeed(): number {
  return Number(randomBytes(8).readBigUInt64LE() >> 11n);
}

/** Draws to the end and resolves with the finished images. */
async function finish(frames: AsyncGenerator<SampleFrame, SampledImages>): Promise<SampledImages> {
  for (;;) {
    const { done, value } = await frames.next();
    if (done) return value;
  }
}
