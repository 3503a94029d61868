// The sampler's programs: pack the weights, begin a batch, advance the wavefront by one step.

import { recordPack } from '../models/network.js';
import type { ModelInternals, Weights } from '../models/pixelcnn.js';
import { randomUniform } from '../ops/random.js';
import { type Front, maskedConv2dFront, nextFront, paddedShape, sampleFront, zero } from '../ops/sample.js';
import { Program } from '../program.js';
import { Recorder } from '../recorder.js';
import type { Tensor } from '../tensor.js';

/** Inputs of one batch of n images. */
export interface SamplerBatch {
  /** (n) index of each image under its seed. */
  readonly index: Uint32Array;
  /** (4) Philox key words, two zeros. */
  readonly random: Uint32Array;
  /** (1) */
  readonly temperature: Float32Array;
  /** (n, H, W) */
  readonly known: Uint8Array;
  /** (n, H, W, channels) levels of the known pixels. */
  readonly level: Uint8Array;
  /** (n, H, W, channels), for a sampler built with `given`. */
  readonly uniforms: Uint8Array | Float32Array | undefined;
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

/** The three programs of a batch size; they share their state. */
export class FrontSampler {
  readonly #pack: Program;
  readonly #begin: Program;
  readonly #advance: Program;
  #packedVersion = -1;

  constructor(programs: readonly Program[]) {
    [this.#pack, this.#begin, this.#advance] = programs as [Program, Program, Program];
  }

  /** Packs the weights if they changed, clears the canvas and draws the uniforms. */
  async begin(model: ModelInternals, batch: SamplerBatch, signal?: AbortSignal): Promise<void> {
    const { index, random, temperature, known, level, uniforms } = batch;
    const inputs = [temperature, known, level, ...(uniforms === undefined ? [index, random] : [uniforms])];
    const steps = [this.#begin.step(inputs)];
    if (this.#packedVersion !== model.version) steps.unshift(this.#pack.step([]));
    this.#packedVersion = model.version;
    await model.device.submit(steps, signal);
  }

  /** Advances the wavefront by `steps` and returns what is drawn then; only pixels that it reached have logits. */
  async advance(steps: number, signal?: AbortSignal): Promise<Drawn> {
    const [level, logits] = await this.#advance.run([], steps, signal);
    return {
      level: new Uint8Array(level!),
      logits: logits === undefined ? new Float32Array(0) : new Float32Array(logits),
    };
  }

  dispose(): void {
    this.#advance.dispose();
    this.#begin.dispose();
    this.#pack.dispose();
  }
}

/** Records and compiles the programs for n images. `given`: uniforms are an input. `logits`: keep and return them. */
export async function buildSampler(
  model: ModelInternals,
  options: { n: number; height: number; width: number; weights: Weights; given: boolean; logits?: boolean },
): Promise<FrontSampler> {
  const { n, height: h, width: w, given } = options;
  const { channels, levels, hiddenChannels } = model.config;
  const { hidden, head } = model.networks[options.weights];
  const front = frontOf(model);

  const pack = new Recorder(model.device);
  const packed = recordPack(pack, model.networks[options.weights], 'direct');

  const begin = new Recorder(model.device);
  const temperature = feed(begin, begin.state('temperature', [1]));
  const known = feed(begin, begin.state('known', [n, h, w], 'uint8'));
  const level = feed(begin, begin.state('level', [n, h, w, channels], 'uint8'));
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
  const step = begin.state('step', [1], 'int32');
  for (const tensor of [image, ...activations, step]) zero(begin, `clear ${tensor.name}`, tensor);

  const advance = new Recorder(model.device);
  const logits = options.logits ? advance.state('logits', [n, h, w, channels, levels]) : null;
  for (let channel = 0; channel < channels; channel += 1) {
    hidden.forEach((layer, i) => {
      const x = i === 0 ? image : activations[i - 1]!;
      const operands = { x, packed: packed[i]!, bias: layer.filter.bias, step, y: activations[i]! };
      const geometry = layer.geometry(n, h, w, 'direct');
      maskedConv2dFront(advance, `${layer.config.name} front`, geometry, front, channel, operands);
    });
    const geometry = { n, h, w, c: hiddenChannels, channels, levels };
    sampleFront(advance, `draw channel ${channel}`, geometry, front, channel, {
      x: activations.at(-1)!,
      packed: packed.at(-1)!,
      bias: head.filter.bias,
      uniforms,
      temperature,
      step,
      known,
      level,
      image,
      logits,
    });
  }
  nextFront(advance, 'next front', step);
  advance.output(level);
  if (logits !== null) advance.output(logits);
  return new FrontSampler(await Program.compileShared([pack, begin, advance]));
}

/** Marks a state as an input of the program. */
function feed(r: Recorder, tensor: Tensor): Tensor {
  r.feed(tensor);
  return tensor;
}
