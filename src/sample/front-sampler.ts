// The sampler's programs: pack the weights, begin a batch, draw the next front or a whole block of fronts.

import { recordPack } from '../models/network.js';
import { type Front, frontSteps, paddedShape } from '../ops/front.js';
import { maskedConv2dFront } from '../ops/masked-conv2d-front.js';
import { randomUniform } from '../ops/random.js';
import { nextFront, sampleFront } from '../ops/sample.js';
import { zero } from '../ops/zero.js';
import type { ModelInternals, Weights } from '../pixelcnn.js';
import { Program } from '../program/program.js';
import { Recorder } from '../program/recorder.js';
import { activationType, dtypeBytes, elements, type Tensor } from '../program/tensor.js';
import type { Chunk, TimedFronts } from './chunks.js';

/** Inputs of one batch of n images. */
export interface SamplerBatch {
  /** (n) index of each image under its seed. */
  readonly index: Uint32Array;
  /** (4) Philox key words, two zeros. */
  readonly random: Uint32Array;
  /** (1) */
  readonly temperature: Float32Array;
  /** For a sampler built with `known`: (n, H, W) which pixels are, and (n, H, W, channels) their levels. */
  readonly known?: { readonly pixels: Uint8Array; readonly level: Uint8Array } | undefined;
  /** (n, H, W, channels), for a sampler built with `given`. */
  readonly uniforms?: Float32Array | undefined;
}

/** What a sampler has drawn so far. */
export interface Drawn {
  /** (n, H, W, channels) */
  readonly level: Uint8Array;
  /** (n, H, W, channels, levels), before the temperature; empty unless the sampler was built with `logits`. */
  readonly logits: Float32Array;
}

/** Slope and border that the model's largest filter asks for. */
export function frontOf(model: ModelInternals): Front {
  const pad = (model.config.kernelSize - 1) / 2;
  return { pad, slope: pad + 1 };
}

/**
 * Images that are drawn as one batch. A front has few of an image's pixels, so a GPU needs more images to be busy than a
 * forward pass has. Since activations are kept for all pixels, the additional images are taken only up to 4 GiB of them.
 */
export function imagesPerBatch(model: ModelInternals, h: number, w: number): number {
  const { channels, hiddenChannels } = model.config;
  const { device, networks } = model;
  const perPixel = channels + networks.raw.hidden.length * hiddenChannels;
  const bytes =
    elements(paddedShape(frontOf(model), 1, h, w, perPixel)) *
    dtypeBytes[activationType[device.info.precision]];
  const always = Math.floor(device.pixelsPerForward / (h * w));
  const most = Math.floor(device.pixelsPerRun / (h * w));
  return Math.max(1, Math.min(most, Math.max(always, Math.floor(2 ** 32 / bytes))));
}

/** Most ops of a block. Longer blocks would gain nothing: a block is repeated without a wait between its runs. */
const mostBlockOps = 8192;

/** The programs of a batch size; they share their state. */
export class FrontSampler {
  /** Fronts of a block; 0 on a device that gains nothing by blocks. */
  readonly block: number;
  /** The work that was timed last, by whoever drew with this sampler; the next chunk's length follows from it. */
  timed: TimedFronts | undefined;
  readonly #pack: Program;
  readonly #begin: Program;
  readonly #front: Program;
  readonly #block: Program | undefined;
  #packedVersion = -1;

  /** `programs`: pack, begin, one front and, unless `block` is 0, a block. */
  constructor(programs: readonly Program[], block: number) {
    const [pack, begin, front, fronts] = programs as [Program, Program, Program, Program?];
    this.#pack = pack;
    this.#begin = begin;
    this.#front = front;
    this.#block = fronts;
    this.block = block;
  }

  /**
   * Submits the next fronts and resolves with what is drawn after them; only pixels that the wavefront has reached have
   * logits. With `batch` a new batch begins: before its first fronts the canvas is cleared, the uniforms are drawn and, if
   * they have changed, the weights are packed.
   */
  async draw(
    model: ModelInternals,
    { program, repeat }: Pick<Chunk, 'program' | 'repeat'>,
    batch: SamplerBatch | undefined,
    signal?: AbortSignal,
  ): Promise<Drawn> {
    const fronts = program === 'block' ? this.#block! : this.#front;
    const steps = [fronts.step([], repeat)];
    if (batch !== undefined) {
      const { index, random, temperature, known, uniforms } = batch;
      const inputs: ArrayBufferView[] = [temperature];
      if (known !== undefined) inputs.push(known.pixels, known.level);
      inputs.push(...(uniforms === undefined ? [index, random] : [uniforms]));
      steps.unshift(this.#begin.step(inputs));
      if (this.#packedVersion !== model.version) steps.unshift(this.#pack.step([]));
      this.#packedVersion = model.version;
    }
    const [level, logits] = await model.device.submit(steps, signal);
    return {
      level: new Uint8Array(level!),
      logits: logits === undefined ? new Float32Array(0) : new Float32Array(logits),
    };
  }

  dispose(): void {
    for (const program of [this.#pack, this.#begin, this.#front, this.#block]) program?.dispose();
  }
}

/**
 * Records and compiles the programs for n images. `known`: batches tell which pixels are known, and their levels. `given`:
 * batches bring their uniforms. `logits`: logits are kept and returned.
 */
export async function buildSampler(
  model: ModelInternals,
  options: {
    n: number;
    height: number;
    width: number;
    weights: Weights;
    known?: boolean;
    given?: boolean;
    logits?: boolean;
  },
): Promise<FrontSampler> {
  const { n, height: h, width: w, given } = options;
  const { channels, levels, hiddenChannels } = model.config;
  const { hidden, head } = model.networks[options.weights];
  const front = frontOf(model);

  const pack = new Recorder(model.device);
  const packed = recordPack(pack, model.networks[options.weights], 'direct');

  const begin = new Recorder(model.device);
  const temperature = feed(begin, begin.state('temperature', [1]));
  const known = options.known ? feed(begin, begin.state('known', [n, h, w], 'uint8')) : null;
  const level = begin.state('level', [n, h, w, channels], 'uint8');
  if (options.known) begin.feed(level);
  else zero(begin, 'clear level', level);
  const uniforms = begin.state('uniforms', [n, h, w, channels]);
  if (given) {
    begin.feed(uniforms);
  } else {
    const index = begin.input('index', [n], 'uint32');
    const random = begin.input('random', [4], 'uint32');
    randomUniform(begin, 'uniforms', { index, random, u: uniforms });
  }
  const image = begin.activationState('image', paddedShape(front, n, h, w, channels));
  const activations = hidden.map((layer) =>
    begin.activationState(`${layer.config.name} y`, paddedShape(front, n, h, w, layer.config.k)),
  );
  // A zero of any of these types is zero bits.
  const position = begin.state('position', [1], 'int32');
  for (const tensor of [image, ...activations, position]) zero(begin, `clear ${tensor.name}`, tensor);

  const logits = options.logits ? begin.state('logits', [n, h, w, channels, levels]) : null;
  const recordFront = (r: Recorder, ahead: number) => {
    for (let channel = 0; channel < channels; channel += 1) {
      hidden.forEach((layer, i) => {
        const x = i === 0 ? image : activations[i - 1]!;
        const operands = { x, packed: packed[i]!, bias: layer.parameters.bias, position, y: activations[i]! };
        maskedConv2dFront(
          r,
          `${layer.config.name} front`,
          layer.shape([n, h, w], 'direct'),
          front,
          channel,
          ahead,
          operands,
        );
      });
      const shape = { n, h, w, c: hiddenChannels, channels, levels };
      sampleFront(r, `draw channel ${channel}`, shape, front, channel, ahead, {
        x: activations.at(-1)!,
        packed: packed.at(-1)!,
        bias: head.parameters.bias,
        uniforms,
        temperature,
        position,
        known,
        level,
        image,
        logits,
      });
    }
  };
  const recordFronts = (fronts: number): Recorder => {
    const r = new Recorder(model.device);
    for (let ahead = 0; ahead < fronts; ahead += 1) recordFront(r, ahead);
    nextFront(r, 'next front', fronts, position);
    r.output(level);
    if (logits !== null) r.output(logits);
    return r;
  };
  // A GPU runs a block as one graph. The CPU has no graphs and gains nothing by a longer program.
  const opsPerFront = channels * (hidden.length + 1);
  const block =
    model.device.info.backend === 'cuda'
      ? Math.min(frontSteps(front, h, w), Math.ceil(mostBlockOps / opsPerFront))
      : 0;
  const recorders = [pack, begin, recordFronts(1)];
  if (block > 0) recorders.push(recordFronts(block));
  return new FrontSampler(await Program.compileShared(recorders), block);
}

/** Marks a state as an input of the program. */
function feed(r: Recorder, tensor: Tensor): Tensor {
  r.feed(tensor);
  return tensor;
}
