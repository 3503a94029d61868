// Runs forward passes over images in chunks, for their logits and their likelihoods.
import type { ImageBatch } from '../data/image-batch.js';
import { asBytes } from '../data/levels.js';
import type { Algorithm } from '../program/algorithm.js';
import type { OpTrace, Program } from '../program/program.js';
import { Recorder } from '../program/recorder.js';
import { type Binarisation, binarisationInputs, recordBinarisation } from './binarisation.js';
import { conditionInput } from './condition.js';
import { conditionSlice, type GivenCondition } from './given-condition.js';
import type { Model } from './model.js';
import { recordLogits, recordNats } from './network.js';
import { PackedPrograms } from './packed-programs.js';
import { checkUnchanged, type Weights } from './weights.js';

export interface Logits {
  /** Unnormalised log-probabilities, in nats. */
  readonly data: Float32Array;
  /** [N, H, W, channels, levels] */
  readonly shape: readonly [number, number, number, number, number];
  /** The weights that the logits were computed with. */
  readonly weights: Weights;
}

export interface LogLikelihood {
  /** -log p of each image, in nats, under the protocol `levels`. */
  readonly nats: Float64Array;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: Float64Array;
  /** The weights that the likelihood was computed with. */
  readonly weights: Weights;
}

/** @internal How a forward pass over images is run. */
export interface ForwardOptions {
  readonly algorithm: Algorithm;
  readonly weights: Weights;
  readonly signal?: AbortSignal | undefined;
  /** For a model with a condition: those of the images. */
  readonly condition: GivenCondition | undefined;
  /** For protocol `dynamic`: the images are binarised before the network. An image's index is its place in the batch. */
  readonly binarisation?: Omit<Binarisation, 'index'> | undefined;
  /** Called with the number of images that are done. */
  readonly onImages?: ((done: number) => void) | undefined;
}

/** Everything that a forward program depends on besides its model. */
interface ForwardProgramOptions {
  readonly output: 'logits' | 'nats';
  readonly n: number;
  readonly height: number;
  readonly width: number;
  readonly algorithm: Algorithm;
  readonly weights: Weights;
  /** Whether images are binarised first. */
  readonly dynamic: boolean;
}

type ForwardPrograms = PackedPrograms<readonly [Program]>;

/** Compiles a forward pass over n images of bytes. */
function buildForward(model: Model, options: ForwardProgramOptions): Promise<ForwardPrograms> {
  const { output, n, height, width, algorithm, weights, dynamic } = options;
  return PackedPrograms.compile(model, weights, algorithm, (recording) => {
    const r = new Recorder(model.device, recording);
    const given = r.input('bytes', [n, height, width, model.config.channels], 'uint8');
    const bytes = dynamic ? recordBinarisation(r, given) : given;
    const condition = conditionInput(r, model.config, { n, h: height, w: width });
    const record = output === 'logits' ? recordLogits : recordNats;
    r.output(record(r, model, { bytes, condition }));
    return [r] as const;
  });
}

/** Float32 values that one run may return: 256 MiB of the 2 GiB that a transfer may have. */
const outputsPerRun = 2 ** 26;

/** Returns the images per run, at least one: enough to keep the device busy, if their output can be transferred. */
export function imagesPerRun(pixelsPerForward: number, pixels: number, outputsPerPixel: number): number {
  return Math.max(1, Math.floor(Math.min(pixelsPerForward, outputsPerRun / outputsPerPixel) / pixels));
}

/** Runs a forward pass over all images and gives each chunk's output to `collect`. */
async function runChunks(
  model: Model,
  output: ForwardProgramOptions['output'],
  images: ImageBatch,
  options: ForwardOptions,
  collect: (output: ArrayBuffer, first: number) => void,
): Promise<void> {
  const { height, width, channels, count } = images;
  const { algorithm, weights, binarisation, signal } = options;
  const { config, device } = model;
  const imageBytes = height * width * channels;
  const outputsPerPixel = output === 'logits' ? config.channels * config.levels : 1;
  const perRun = imagesPerRun(device.pixelsPerForward, height * width, outputsPerPixel);
  const checkWeights = checkUnchanged(model, weights);
  for (let first = 0; first < count; first += perRun) {
    signal?.throwIfAborted();
    const n = Math.min(perRun, count - first);
    const part = images.data.subarray(first * imageBytes, (first + n) * imageBytes);
    const inputs: ArrayBufferView[] = [asBytes(part, images.values, config.levels)];
    if (binarisation !== undefined) {
      const index = Uint32Array.from({ length: n }, (_, i) => first + i);
      inputs.push(...binarisationInputs({ ...binarisation, index }));
    }
    if (options.condition !== undefined) inputs.push(conditionSlice(options.condition, first, n));
    const dynamic = binarisation !== undefined;
    const programOptions = { output, n, height, width, algorithm, weights, dynamic };
    const [result] = await model.programs.use(buildForward, programOptions, (forward) => {
      checkWeights();
      return forward.submit([forward.programs[0].step(inputs)], signal);
    });
    collect(result!, first);
    options.onImages?.(first + n);
  }
  signal?.throwIfAborted();
}

/** @internal Computes the logits (N, H, W, channels, levels) of all images. */
export async function runLogits(model: Model, images: ImageBatch, options: ForwardOptions): Promise<Logits> {
  const { count, height, width, channels } = images;
  const { levels } = model.config;
  const perImage = height * width * channels * levels;
  const data = new Float32Array(count * perImage);
  await runChunks(model, 'logits', images, options, (output, first) => {
    data.set(new Float32Array(output), first * perImage);
  });
  return { data, shape: [count, height, width, channels, levels], weights: options.weights };
}

/** @internal Computes -log p of every image, in nats. */
export async function runNats(
  model: Model,
  images: ImageBatch,
  options: ForwardOptions,
): Promise<Float64Array> {
  const nats = new Float64Array(images.count);
  await runChunks(model, 'nats', images, options, (output, first) => {
    nats.set(new Float64Array(output), first);
  });
  return nats;
}

/** @internal Traces one likelihood pass over all images at once: time, shape and non-finite values of every op. */
export async function traceNats(
  model: Model,
  images: ImageBatch,
  options: Pick<ForwardOptions, 'algorithm' | 'weights' | 'signal' | 'condition'>,
): Promise<OpTrace[]> {
  const { count: n, height, width } = images;
  const { algorithm, weights, signal, condition } = options;
  const programOptions = { output: 'nats', n, height, width, algorithm, weights, dynamic: false } as const;
  const forward = await buildForward(model, programOptions);
  try {
    const bytes = asBytes(images.data, images.values, model.config.levels);
    const inputs = [bytes, ...(condition === undefined ? [] : [condition.values])];
    return await forward.trace(forward.programs[0], inputs, signal);
  } finally {
    forward.dispose();
  }
}
