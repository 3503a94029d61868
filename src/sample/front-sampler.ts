// Compiles the programs that draw a batch of images front by front, and runs them.
import type { Model } from '../models/model.js';
import { PackedPrograms } from '../models/packed-programs.js';
import type { Weights } from '../models/weights.js';
import { randomUniform } from '../ops/random.js';
import { type DrawOperands, nextFront } from '../ops/sample.js';
import { zero } from '../ops/zero.js';
import { frontSteps, paddedShape } from '../program/front.js';
import type { Program } from '../program/program.js';
import { Recorder } from '../program/recorder.js';
import { activationType, type DType, dtypeBytes, elements, type Tensor } from '../program/tensor.js';
import type { Chunk, TimedFronts } from './chunks.js';
import { drawingOf, passesOf, recordBeginning, recordFront } from './passes.js';

/** The inputs that a batch of n images is drawn from. */
export interface SamplerBatch {
  /** (n) the index of each image under its seed. */
  readonly index: Uint32Array;
  /** (4) the words of a Philox key and two zeros. */
  readonly random: Uint32Array;
  /** (1) */
  readonly temperature: Float32Array;
  /** (1), for a sampler built with `guided`. */
  readonly guidance?: Float32Array | undefined;
  /**
   * For a model with a condition: labels or values of the n images and, in a guided sampler, then those of no condition for
   * as many.
   */
  readonly condition?: Uint32Array | Float32Array | undefined;
  /** For a sampler built with `known`: (n, H, W), non-zero where a pixel is known, and (n, H, W, channels) levels. */
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

/**
 * Returns how many images are drawn as one batch. A front has few of an image's pixels, so a GPU needs more images than in
 * a forward pass to be busy. The sampler keeps the activations of all pixels, so it takes these additional images only as
 * long as the activations fit into 4 GiB.
 */
export function imagesPerBatch(model: Model, h: number, w: number, guided: boolean): number {
  const { device } = model;
  const { front, channels } = passesOf(model, w);
  const bytes =
    elements(paddedShape(front, 1, h, w, channels)) * dtypeBytes[activationType[device.info.precision]];
  const always = Math.floor(device.pixelsPerForward / (h * w));
  const most = Math.floor(device.pixelsPerSampledBatch / (h * w));
  const images = Math.min(most, Math.max(always, Math.floor(2 ** 32 / bytes)));
  // A guided sampler has two images for each that it draws.
  return Math.max(1, guided ? Math.floor(images / 2) : images);
}

/** The most ops of a block. Longer blocks would gain nothing, because the GPU does not wait between two runs anyway. */
const mostBlockOps = 8192;

/** The programs that draw a batch of images. They share their memory. */
export class FrontSampler {
  /** The number of fronts in a block; 0 on the CPU, which gains nothing by blocks. */
  readonly block: number;
  /** The work with this sampler that was timed last, from which the length of the next chunk follows. */
  timed: TimedFronts | undefined;
  readonly #compiled: PackedPrograms<readonly Program[]>;
  readonly #begin: Program;
  readonly #front: Program;
  readonly #block: Program | undefined;

  /** `compiled` has the programs that begin a batch, draw one front and, unless `block` is 0, draw a block. */
  constructor(compiled: PackedPrograms<readonly Program[]>, block: number) {
    this.#compiled = compiled;
    const [begin, front, fronts] = compiled.programs;
    this.#begin = begin!;
    this.#front = front!;
    this.#block = fronts;
    this.block = block;
  }

  /**
   * Submits the next fronts and resolves with what is drawn after them; only pixels that the wavefront has reached have
   * logits. With `batch` a new batch begins: before its first fronts the canvas is cleared, the uniforms are drawn and, if
   * they have changed, the weights are packed.
   */
  async draw(
    { program, repeat }: Pick<Chunk, 'program' | 'repeat'>,
    batch: SamplerBatch | undefined,
    signal?: AbortSignal,
  ): Promise<Drawn> {
    const fronts = program === 'block' ? this.#block! : this.#front;
    const runs = [fronts.step([], repeat)];
    if (batch !== undefined) {
      const { index, random, temperature, guidance, condition, known, uniforms } = batch;
      const inputs: ArrayBufferView[] = [temperature];
      if (guidance !== undefined) inputs.push(guidance);
      if (known !== undefined) inputs.push(known.pixels, known.level);
      inputs.push(...(uniforms === undefined ? [index, random] : [uniforms]));
      if (condition !== undefined) inputs.push(condition);
      runs.unshift(this.#begin.step(inputs));
    }
    const [level, logits] = await this.#compiled.submit(runs, signal);
    return {
      level: new Uint8Array(level!),
      logits: logits === undefined ? new Float32Array(0) : new Float32Array(logits),
    };
  }

  dispose(): void {
    this.#compiled.dispose();
  }
}

/** Everything that a sampler depends on besides its model. */
export interface SamplerOptions {
  readonly n: number;
  readonly height: number;
  readonly width: number;
  readonly weights: Weights;
  /** Whether batches say which pixels are known, and their levels. */
  readonly known?: boolean;
  /** Whether batches bring the uniforms that levels are drawn with, instead of a seed. */
  readonly given?: boolean;
  /** Whether the logits are kept and returned. */
  readonly logits?: boolean;
  /** Whether levels are drawn from logits with and without the condition, weighed by a guidance. */
  readonly guided?: boolean;
}

/**
 * Compiles a sampler for n images. One program begins a batch, one draws a front and, on a GPU, one draws a block of
 * fronts; they exchange values through states, which keep their memory between runs.
 */
export async function buildSampler(model: Model, options: SamplerOptions): Promise<FrontSampler> {
  const { height: h, width: w } = options;
  const n = options.guided ? 2 * options.n : options.n;
  const passes = passesOf(model, w);
  const drawing = drawingOf(model, passes, { n, h, w });
  const { canvas, condition } = drawing;
  let block = 0;
  const compiled = await PackedPrograms.compile(model, options.weights, 'direct', (recording) => {
    const begin = new Recorder(model.device, recording);
    const operands = recordInputs(begin, model, options, canvas.image);
    const { level, logits } = operands;
    const recordFronts = (fronts: number): Recorder => {
      const r = new Recorder(model.device, recording);
      for (let ahead = 0; ahead < fronts; ahead += 1) recordFront(r, model, passes, drawing, ahead, operands);
      nextFront(r, 'next front', fronts, canvas.position);
      r.output(level);
      if (logits !== null) r.output(logits);
      return r;
    };
    const programs = [recordFronts(1)];
    // A GPU runs a block as one graph. The CPU has no graphs and gains nothing by a longer program.
    if (model.device.info.backend === 'cuda') {
      const opsPerFront = programs[0]!.ops.length - 1;
      block = Math.min(frontSteps(passes.front, h, w), Math.ceil(mostBlockOps / opsPerFront));
      programs.push(recordFronts(block));
    }
    // Zero is all bits 0 in each of these element types, so one op clears them all.
    for (const tensor of canvas.states) {
      begin.states.add(tensor);
      zero(begin, `clear ${tensor.name}`, tensor);
    }
    if (condition !== null) begin.fill(condition);
    recordBeginning(begin, model, passes, drawing);
    return [begin, ...programs];
  });
  return new FrontSampler(compiled, block);
}

/** Records what the fronts of a batch draw from: what the run is given, and the uniforms unless they are given too. */
function recordInputs(r: Recorder, { config }: Model, options: SamplerOptions, image: Tensor): DrawOperands {
  const { n, height: h, width: w, given } = options;
  const { channels, levels } = config;
  const temperature = inputState(r, 'temperature', [1]);
  const guidance = options.guided ? inputState(r, 'guidance', [1]) : null;
  const known = options.known ? inputState(r, 'known', [n, h, w], 'uint8') : null;
  const level = r.state('level', [n, h, w, channels], 'uint8');
  if (options.known) r.fill(level);
  else zero(r, 'clear level', level);
  const uniforms = r.state('uniforms', [n, h, w, channels]);
  if (given) {
    r.fill(uniforms);
  } else {
    const index = r.input('index', [n], 'uint32');
    const random = r.input('random', [4], 'uint32');
    randomUniform(r, 'uniforms', { index, random, u: uniforms });
  }
  const logits = options.logits ? r.state('logits', [n, h, w, channels, levels]) : null;
  return { uniforms, temperature, guidance, known, level, image, logits };
}

/** Describes a state that a run of the program fills, for the runs of the other programs to read. */
function inputState(r: Recorder, name: string, shape: readonly number[], dtype?: DType): Tensor {
  const tensor = r.state(name, shape, dtype);
  r.fill(tensor);
  return tensor;
}
