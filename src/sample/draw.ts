// Draws the images of a job batch by batch, in chunks of fronts. The device gets the next chunk before JavaScript handles
// what the last one drew.
import type { ImageBatch, ImageValues } from '../data/image-batch.js';
import { writeBytesOfLevels } from '../data/levels.js';
import { allEnded } from '../errors.js';
import { conditionOf } from '../models/condition.js';
import {
  conditionSlice,
  type GivenCondition,
  type ImageConditions,
  noCondition,
} from '../models/given-condition.js';
import type { Model } from '../models/model.js';
import type { ProgramLease } from '../models/program-cache.js';
import { checkUnchanged, type Weights } from '../models/weights.js';
import { seedKey } from '../random/philox.js';
import {
  type Chunk,
  inFlightMilliseconds,
  mostMilliseconds,
  nextChunk,
  type TimedFronts,
  Wavefront,
} from './chunks.js';
import {
  buildSampler,
  type Drawn,
  type FrontSampler,
  imagesPerBatch,
  type SamplerBatch,
  type SamplerOptions,
} from './front-sampler.js';
import { passesOf } from './passes.js';

/** Images that were drawn, with the seed and weights that they were drawn from. */
export interface SampledImages extends ImageBatch {
  /** The seed as it was given. A random one is a number below 2^53, which JSON can represent. */
  readonly seed: number | bigint;
  readonly weights: Weights;
}

/** The canvas after some steps of the wavefront. Pixels that are not drawn yet are 0. */
export interface SampleFrame {
  readonly step: number;
  readonly steps: number;
  readonly images: SampledImages;
}

/** The images that one call draws. */
export interface Job {
  count: number;
  height: number;
  width: number;
  seed: number | bigint;
  temperature: number;
  /** For a model with a condition: those of the images, or none for all if `guidance` is 0. */
  condition: GivenCondition | undefined;
  guidance: number;
  firstIndex: number;
  weights: Weights;
  /** The weights that the caller asked for, if any. */
  asked: Weights | undefined;
  signal: AbortSignal | undefined;
  /** Whether the result holds bytes or levels. */
  values: ImageValues;
  /** Returns a copy of the condition, as the fields of images. A reader of frames may change or transfer it. */
  given: () => ImageConditions;
  uniforms?: Float32Array;
  /** (count, H, W), non-zero where a pixel is known, and (count, H, W, channels) levels of those that are. */
  known?: { readonly pixels: Uint8Array; readonly level: Uint8Array };
  stepsPerFrame?: number;
  onSteps?: (done: number, of: number) => void;
}

/** A chunk that was submitted and whose result has not arrived yet. */
interface ChunkInFlight {
  readonly sampler: FrontSampler;
  readonly chunk: Chunk;
  /** The first image of its batch. */
  readonly first: number;
  /** When it was submitted, by performance.now(). */
  readonly submitted: number;
  /** Whether it was submitted behind another chunk that was still in flight. */
  readonly behind: boolean;
  readonly drawn: Promise<Drawn>;
}

/** A chunk whose result has arrived, and the time since the one before it or since it was submitted. */
interface FinishedChunk {
  readonly sampler: FrontSampler;
  readonly timed: TimedFronts;
  readonly arrived: number;
}

/**
 * Draws all images, and yields frames if the job asks for them. `submit` keeps the device supplied with chunks, and the
 * loop takes their results in order.
 */
export async function* draw(model: Model, job: Job): AsyncGenerator<SampleFrame, SampledImages> {
  const { count, height, width, signal } = job;
  const { channels, levels } = model.config;
  const perImage = height * width * channels;
  const perBatch = Math.min(count, imagesPerBatch(model, height, width, isGuided(job)));
  const { front, rows } = passesOf(model, width);
  const wavefront = new Wavefront(front, height, width, rows === 'whole');
  const steps = wavefront.steps * Math.ceil(count / perBatch);
  const frame = job.stepsPerFrame ?? wavefront.steps;
  const data = new Uint8Array(count * perImage);
  const images = (of: Uint8Array): SampledImages => ({
    data: of,
    count,
    height,
    width,
    channels,
    values: job.values,
    seed: job.seed,
    weights: job.weights,
    ...job.given(),
  });
  const checkWeights = checkUnchanged(model, job.weights);
  const samplers = new Samplers(model, job);
  const inFlight: ChunkInFlight[] = [];
  // One chunk runs and one waits behind it. A stream has one at a time: its reader may pause at a frame for long, and
  // nothing should be in flight then.
  const mostInFlight = job.stepsPerFrame === undefined ? 2 : 1;

  // Where the next chunk begins: the first image of its batch, and a front.
  let first = 0;
  let from = 0;
  /** Submits chunks until the device has enough to do. */
  const submit = async (): Promise<void> => {
    while (first < count && inFlight.length < mostInFlight) {
      const n = Math.min(perBatch, count - first);
      const sampler = await samplers.get(n);
      const until = Math.min(wavefront.steps, from - (from % frame) + frame);
      const chunk = nextChunk(wavefront, from, until, sampler.block, sampler.timed);
      const milliseconds = inFlight.reduce(
        (sum, flight) => sum + flight.chunk.milliseconds,
        chunk.milliseconds,
      );
      if (inFlight.length > 0 && milliseconds > inFlightMilliseconds) return;
      signal?.throwIfAborted();
      checkWeights();
      const batch = from === 0 ? batchOf(job, model, first, n) : undefined;
      const behind = inFlight.length > 0;
      // The time is taken before the call, because on a busy machine this thread may be paused right after it.
      const submitted = performance.now();
      const drawn = sampler.draw(chunk, batch, signal);
      // The rejection is handled when the chunk is awaited; this keeps Node from reporting it before that.
      drawn.catch(() => {});
      inFlight.push({ sampler, chunk, first, submitted, behind, drawn });
      from = chunk.to;
      if (from < wavefront.steps) continue;
      first += n;
      from = 0;
    }
  };

  try {
    await submit();
    let last: FinishedChunk | undefined;
    while (inFlight.length > 0) {
      const { chunk, first: at, drawn } = inFlight[0]!;
      const { level } = await drawn;
      last = timeOf(inFlight.shift()!, last);
      const step = Math.floor(at / perBatch) * wavefront.steps + chunk.to;
      const isEnd = chunk.to === wavefront.steps;
      const isFrame = job.stepsPerFrame !== undefined && (isEnd || chunk.to % frame === 0);
      if (!isFrame) await submit();
      job.onSteps?.(step, steps);
      if (isEnd || isFrame) {
        const to = data.subarray(at * perImage, at * perImage + level.length);
        if (job.values === 'levels') to.set(level);
        else writeBytesOfLevels(level, levels, to);
      }
      if (step === steps) samplers.keep();
      if (!isFrame) continue;
      yield { step, steps, images: images(data.slice()) };
      await submit();
    }
  } catch (error) {
    // Samplers are given back below, so no chunk may still be at work with one. This throws the error, or its cause.
    await allEnded([Promise.reject(error), ...inFlight.map(({ drawn }) => drawn)]);
  } finally {
    samplers.end();
  }
  signal?.throwIfAborted();
  return images(data);
}

/**
 * Times a chunk whose result arrives now, and notes the time with its sampler. The device began the chunk when the one
 * before it ended, but busy JavaScript may notice that late, so that both seem to arrive at once. A chunk that was
 * submitted behind another is therefore never taken to be faster than that one was. If that one was of another sampler, the
 * two cannot be compared, and the chunk is timed from its own submission.
 */
function timeOf(
  { sampler, chunk, submitted, behind }: ChunkInFlight,
  last: FinishedChunk | undefined,
): FinishedChunk {
  const arrived = performance.now();
  const timed = { ...chunk, milliseconds: arrived - (behind ? last!.arrived : submitted) };
  if (!behind) sampler.timed = timed;
  else if (last!.sampler !== sampler) sampler.timed = { ...chunk, milliseconds: arrived - submitted };
  else {
    const milliseconds = Math.max(timed.milliseconds, mostMilliseconds(last!.timed, chunk));
    sampler.timed = { ...chunk, milliseconds };
  }
  return { sampler, timed, arrived };
}

/** The samplers of one job: one for full batches, and one for a smaller last batch. */
class Samplers {
  readonly #model: Model;
  readonly #job: Job;
  /** By the number of images of a batch. They last until the whole job has ended. */
  readonly #leases = new Map<number, ProgramLease<FrontSampler>>();

  constructor(model: Model, job: Job) {
    this.#model = model;
    this.#job = job;
  }

  async get(n: number): Promise<FrontSampler> {
    const { height, width, weights } = this.#job;
    const [known, given] = [this.#job.known !== undefined, this.#job.uniforms !== undefined];
    const guided = isGuided(this.#job);
    const options: SamplerOptions = { n, height, width, weights, known, given, guided };
    const lease = this.#leases.get(n) ?? (await this.#model.programs.lease(buildSampler, options));
    this.#leases.set(n, lease);
    return lease.program;
  }

  /** Gives the samplers back for the next call to use. */
  keep(): void {
    for (const lease of this.#leases.values()) lease.keep();
    this.end();
  }

  /** Disposes the samplers that were not kept. */
  end(): void {
    for (const lease of this.#leases.values()) lease.end();
    this.#leases.clear();
  }
}

/** Whether levels are drawn from two distributions, with and without the condition. */
function isGuided({ condition, guidance }: Job): boolean {
  return condition !== undefined && guidance !== 0 && guidance !== 1;
}

/** Returns the conditions of a batch, in a guided job followed by no condition for as many images. */
function conditionsOf(job: Job, model: Model, first: number, n: number): SamplerBatch['condition'] {
  const { condition } = job;
  if (condition === undefined) return undefined;
  const own = conditionSlice(condition, first, n);
  if (!isGuided(job)) return own;
  const none = noCondition(conditionOf(model.config)!, n, job).values;
  const both = new (condition.kind === 'classes' ? Uint32Array : Float32Array)(2 * own.length);
  both.set(own);
  both.set(none, own.length);
  return both;
}

/** Returns the inputs of the batch of n images that begins with image `first`. */
function batchOf(job: Job, model: Model, first: number, n: number): SamplerBatch {
  const [key0, key1] = seedKey(job.seed);
  const pixels = job.height * job.width;
  const perImage = pixels * model.config.channels;
  return {
    index: Uint32Array.from({ length: n }, (_, i) => job.firstIndex + first + i),
    random: Uint32Array.of(key0, key1, 0, 0),
    temperature: Float32Array.of(job.temperature),
    guidance: isGuided(job) ? Float32Array.of(job.guidance) : undefined,
    condition: conditionsOf(job, model, first, n),
    known: job.known && {
      pixels: job.known.pixels.subarray(first * pixels, (first + n) * pixels),
      level: job.known.level.subarray(first * perImage, (first + n) * perImage),
    },
    uniforms: job.uniforms?.subarray(first * perImage, (first + n) * perImage),
  };
}
