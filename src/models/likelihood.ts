// Forward passes over batches of images: logits and likelihoods, a chunk of images per run.
import type { ImageBatch } from '../data/image-batch.js';
import { asBytes } from '../data/levels.js';
import type { Algorithm } from '../ops/masked-conv2d.js';
import { binarise } from '../ops/random.js';
import type { Logits, ModelInternals } from '../pixelcnn.js';
import { type OpTrace, Program } from '../program/program.js';
import { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { type PackedWeights, recordLogits, recordNats, recordPack } from './network.js';
import { checkUnchanged, type Weights } from './weights.js';

export interface ForwardOptions {
  readonly algorithm: Algorithm;
  readonly weights: Weights;
  readonly signal?: AbortSignal | undefined;
  /** Dynamic binarisation before the network: key words, epoch, and the dataset index of the first image. */
  readonly binarisation?: { readonly key: readonly [number, number]; readonly epoch: number } | undefined;
  /** Called with the number of images that are done. */
  readonly onImages?: ((done: number) => void) | undefined;
}

type RecordBody = (r: Recorder, bytes: Tensor, packed: PackedWeights) => Tensor;

/** A forward program and the program that packs its weights. */
class ForwardUnit {
  readonly #pack: Program;
  readonly #forward: Program;
  #packedVersion = -1;

  constructor(pack: Program, forward: Program) {
    this.#pack = pack;
    this.#forward = forward;
  }

  async run(
    model: ModelInternals,
    inputs: ArrayBufferView[],
    signal: AbortSignal | undefined,
  ): Promise<ArrayBuffer> {
    const steps = [this.#forward.step(inputs)];
    if (this.#packedVersion !== model.version) steps.unshift(this.#pack.step([]));
    this.#packedVersion = model.version;
    const [output] = await model.device.submit(steps, signal);
    return output!;
  }

  /** Packs, then runs once op by op. */
  async trace(inputs: ArrayBufferView[], signal: AbortSignal | undefined): Promise<OpTrace[]> {
    return [...(await this.#pack.trace([], signal)), ...(await this.#forward.trace(inputs, signal))];
  }

  dispose(): void {
    this.#forward.dispose();
    this.#pack.dispose();
  }
}

/** Float32 values that one run may return: 256 MiB of the 2 GiB that a transfer may have. */
const outputsPerRun = 2 ** 26;

/** Images per run, at least one: so many that the device is busy and their output can be transferred. */
export function imagesPerRun(pixelsPerForward: number, pixels: number, outputsPerPixel: number): number {
  return Math.max(1, Math.floor(Math.min(pixelsPerForward, outputsPerRun / outputsPerPixel) / pixels));
}

/** Runs a forward program over all images, giving each chunk's output to `collect`. */
async function runChunks(
  model: ModelInternals,
  what: 'logits' | 'nats',
  images: ImageBatch,
  options: ForwardOptions,
  record: RecordBody,
  collect: (output: ArrayBuffer, first: number) => void,
): Promise<void> {
  const { height, width, channels } = images;
  const imageBytes = height * width * channels;
  const { config, device } = model;
  const perPixel = what === 'logits' ? config.channels * config.levels : 1;
  const perRun = imagesPerRun(device.pixelsPerForward, height * width, perPixel);
  const checkWeights = checkUnchanged(model, options.weights);
  for (let first = 0; first < images.count; first += perRun) {
    options.signal?.throwIfAborted();
    const n = Math.min(perRun, images.count - first);
    const part = images.data.subarray(first * imageBytes, (first + n) * imageBytes);
    const bytes = asBytes(part, images.values, config.levels);
    const inputs: ArrayBufferView[] = [bytes];
    const draw = options.binarisation;
    if (draw !== undefined) {
      inputs.push(
        Uint32Array.from({ length: n }, (_, i) => first + i),
        Uint32Array.of(...draw.key, draw.epoch, 0),
      );
    }
    const key = [what, n, height, width, options.algorithm, options.weights, draw !== undefined].join();
    const build = () => buildUnit(model, [n, height, width, channels], options, record);
    const output = await model.programs.use(key, build, (unit) => {
      checkWeights();
      return (unit as ForwardUnit).run(model, inputs, options.signal);
    });
    collect(output, first);
    options.onImages?.(first + n);
  }
  options.signal?.throwIfAborted();
}

async function buildUnit(
  model: ModelInternals,
  shape: readonly number[],
  options: ForwardOptions,
  record: RecordBody,
): Promise<ForwardUnit> {
  const pack = new Recorder(model.device);
  const packed = recordPack(pack, model.networks[options.weights], options.algorithm);
  const r = new Recorder(model.device);
  let bytes = r.input('bytes', shape, 'uint8');
  if (options.binarisation !== undefined) {
    const index = r.input('index', [shape[0]!], 'uint32');
    const random = r.input('random', [4], 'uint32');
    bytes = binarise(r, 'binarise', { bytes, index, random });
  }
  r.output(record(r, bytes, packed));
  const [packProgram, forwardProgram] = await Program.compileShared([pack, r]);
  return new ForwardUnit(packProgram!, forwardProgram!);
}

/** Logits (N, H, W, channels, levels) of all images. */
export async function runLogits(
  model: ModelInternals,
  images: ImageBatch,
  options: ForwardOptions,
): Promise<Logits> {
  const { count, height, width, channels } = images;
  const { levels } = model.config;
  const perImage = height * width * channels * levels;
  const data = new Float32Array(count * perImage);
  const network = model.networks[options.weights];
  await runChunks(
    model,
    'logits',
    images,
    options,
    (r, bytes, packed) => recordLogits(r, network, bytes, packed, options.algorithm),
    (output, first) => data.set(new Float32Array(output), first * perImage),
  );
  return { data, shape: [count, height, width, channels, levels], weights: options.weights };
}

/** Time, shape and non-finite values of every op of one likelihood pass over all images at once. */
export async function traceNats(
  model: ModelInternals,
  images: ImageBatch,
  options: ForwardOptions,
): Promise<OpTrace[]> {
  const { count, height, width, channels } = images;
  const network = model.networks[options.weights];
  const unit = await buildUnit(model, [count, height, width, channels], options, (r, bytes, packed) =>
    recordNats(r, network, bytes, packed, options.algorithm),
  );
  try {
    const bytes = asBytes(images.data, images.values, model.config.levels);
    return await unit.trace([bytes], options.signal);
  } finally {
    unit.dispose();
  }
}

/** -log p of every image, in nats. */
export async function runNats(
  model: ModelInternals,
  images: ImageBatch,
  options: ForwardOptions,
): Promise<Float64Array> {
  const nats = new Float64Array(images.count);
  const network = model.networks[options.weights];
  await runChunks(
    model,
    'nats',
    images,
    options,
    (r, bytes, packed) => recordNats(r, network, bytes, packed, options.algorithm),
    (output, first) => nats.set(new Float64Array(output), first),
  );
  return nats;
}
