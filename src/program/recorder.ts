// Records the ops of a program as plain descriptions. Recording computes nothing and allocates no device memory.
import type { Device } from '../device/device.js';
import { type Precision, precisions } from '../device/precision.js';
import { check } from '../errors.js';
import type { Algorithm } from './algorithm.js';
import type { PackList } from './pack-list.js';
import type { Neighbourhood, Reach } from './reach.js';
import { operandsOf, type RecordedOp } from './recorded-op.js';
import { type Region, type SamplerPass, wholeImages } from './sampler-pass.js';
import { type Sight, Sights } from './sight.js';
import { activationType, type DType, describeTensor, type Tensor } from './tensor.js';

/** The choices that a network leaves to the program that it is recorded for. */
export interface RecorderOptions {
  /** The precision of activations. Default: the device's. */
  readonly precision?: Precision;
  /** The algorithm of convolutions that may use any. Default `direct`. */
  readonly algorithm?: Algorithm;
  /** The weights in use, by name. */
  readonly parameters?: ReadonlyMap<string, Tensor>;
  /** The places for their gradients, by the same names. Given for training only. */
  readonly gradients?: ReadonlyMap<string, Tensor>;
  /** The filters that are packed together. Without a list, each is packed right before the op that uses it. */
  readonly packs?: PackList;
}

/** The result of an op that computes each pixel without the other pixels of the result: (N, H, W, channels). */
export interface PixelwiseResult {
  readonly name: string;
  readonly images: { readonly n: number; readonly h: number; readonly w: number };
  readonly channels: number;
  /** How much of the image it sees. */
  readonly sees: Sight;
  /** Default: the type of activations. */
  readonly dtype?: DType;
  /** The operand that the op reads at other pixels too. Default none. */
  readonly reads?: Neighbourhood;
}

/** Collects the ops and tensors of one program, which {@link Program.compile} then makes runnable. */
export class Recorder {
  readonly device: Device;
  /** The precision of this program's activations. */
  readonly precision: Precision;
  readonly options: RecorderOptions;
  readonly ops: RecordedOp[] = [];
  /** Tensors that every run fills from JavaScript, in the order in which runs give their values. */
  readonly inputs: Tensor[] = [];
  /** Tensors whose values every run returns. */
  readonly outputs: Tensor[] = [];
  /** Tensors that keep their memory from run to run. */
  readonly states = new Set<Tensor>();
  #pass: SamplerPass | undefined;
  /** For a network that is recorded whole. The passes of a sampler share those of their canvas. */
  readonly #sights = new Sights();
  readonly #neighbourhoods = new Map<Tensor, Neighbourhood>();
  /** Parameters and packed parameters. */
  readonly #requiringGradient = new Set<Tensor>();
  readonly #reluOutputs = new Set<Tensor>();

  constructor(device: Device, options: RecorderOptions = {}) {
    this.device = device;
    this.options = options;
    this.precision = options.precision ?? device.info.precision;
  }

  /** The precision as a number of native/op_shapes.h. */
  get precisionNumber(): number {
    return precisions.indexOf(this.precision);
  }

  /** Returns the parameter of this name in the weights in use. */
  parameter(name: string): Tensor {
    const tensor = this.options.parameters?.get(name);
    check(tensor !== undefined, 'ERR_PROGRAM', () => `the network declares no parameter '${name}'`);
    return this.requireGradient(tensor);
  }

  /** Notes that training needs the gradients of what is computed from this tensor, and returns the tensor. */
  requireGradient(tensor: Tensor): Tensor {
    this.#requiringGradient.add(tensor);
    return tensor;
  }

  /** Whether {@link requireGradient} was called for this tensor. Results of ops are not looked up. */
  requiresGradient(tensor: Tensor): boolean {
    return this.#requiringGradient.has(tensor);
  }

  /** Whether a tensor is the output of a ReLU. */
  isReluOutput(tensor: Tensor): boolean {
    return this.#reluOutputs.has(tensor);
  }

  /** The sampler's pass that is being recorded. Undefined while a network is recorded whole, for all pixels. */
  get pass(): SamplerPass | undefined {
    return this.#pass;
  }

  /** Calls `record`, in which only the ops of one pass of the sampler are recorded. */
  inPass(pass: SamplerPass, record: () => void): void {
    this.#pass = pass;
    try {
      record();
    } finally {
      this.#pass = undefined;
    }
  }

  /** Says what each tensor of the recorded network sees. */
  get sights(): Sights {
    return this.pass?.canvas.sights ?? this.#sights;
  }

  /** The farthest that an op of this program reads from a pixel. */
  get reach(): Reach {
    const reaches = Array.from(this.#neighbourhoods.values(), ({ reach }) => reach);
    const most = (side: keyof Reach) => Math.max(0, ...reaches.map((reach) => reach[side]));
    return { above: most('above'), left: most('left'), right: most('right') };
  }

  /** Returns how many columns to the right of each pixel of `result` the op that computes it reads x. */
  reachToTheRight(result: Tensor, x: Tensor): number {
    const neighbourhood = this.#neighbourhoods.get(result);
    return neighbourhood?.x === x ? neighbourhood.reach.right : 0;
  }

  /** Returns n, h and w of the images that a tensor of activations belongs to. Those of a condition may be one pixel each. */
  imagesOf(x: Tensor): { n: number; h: number; w: number } {
    if (this.pass !== undefined && this.sights.of(x) !== 'condition') return this.pass.canvas.images;
    const [n, h, w] = x.shape as [number, number, number];
    return { n, h, w };
  }

  /**
   * Records an op that computes every pixel of its result by itself, and returns the result. `describe` gives the op for
   * the region that it is to compute. In a sampler the result is one tensor for all passes, and only the pass that computes
   * what sees so much records the op. The result has a border of zeros, unless it follows from the condition alone.
   */
  pixelwise(
    { name, images, channels, sees, dtype = activationType[this.precision], reads }: PixelwiseResult,
    describe: (result: Tensor, region: Region, position: Tensor | null) => RecordedOp,
  ): Tensor {
    const { pass } = this;
    if (pass === undefined) {
      const result = this.tensor(name, [images.n, images.h, images.w, channels], dtype);
      this.sights.set(result, sees);
      if (reads !== undefined) this.#neighbourhoods.set(result, reads);
      this.emit(describe(result, wholeImages, null));
      return result;
    }
    const result = pass.result(name, images, channels, dtype, sees);
    if (reads !== undefined) pass.noteNeighbourhood(reads.x, reads.reach);
    if (pass.computes(sees)) {
      const position = sees === 'condition' ? null : pass.canvas.position;
      const op = describe(result, pass.regionOf(result), position);
      for (const operand of operandsOf(op)) pass.noteOperand(operand, result);
      this.emit(op);
    }
    return result;
  }

  /** Describes a tensor of activations or their gradients, whose element type follows from the precision. */
  activation(name: string, shape: readonly number[]): Tensor {
    return this.tensor(name, shape, activationType[this.precision]);
  }

  /** Describes a tensor that lives from the op that writes it to the last op that reads it. */
  tensor(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    return describeTensor(name, shape, dtype);
  }

  /** Describes a tensor that shares its memory with no other: it is zero before the first run and kept between runs. */
  state(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const tensor = describeTensor(name, shape, dtype);
    this.states.add(tensor);
    return tensor;
  }

  /** Describes a tensor that every run fills from JavaScript before the first op. */
  input(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const tensor = describeTensor(name, shape, dtype);
    this.inputs.push(tensor);
    return tensor;
  }

  /** Has every run fill an existing tensor, e.g. a state or one in an arena, from JavaScript before the first op. */
  fill(tensor: Tensor): void {
    this.inputs.push(tensor);
  }

  /** Has every run return the values of a tensor. */
  output(tensor: Tensor): void {
    this.outputs.push(tensor);
  }

  /** Appends an op. @throws PixelCnnError ERR_WRONG_DEVICE for a tensor in the memory of another device. */
  emit(op: RecordedOp): void {
    for (const operand of operandsOf(op)) {
      const owner = operand.placed?.arena.device;
      check(owner === undefined || owner === this.device, 'ERR_WRONG_DEVICE', () => {
        return `${op.label}: tensor '${operand.name}' belongs to another device`;
      });
    }
    const { result } = op;
    if (result !== undefined) {
      if (op.relu) this.#reluOutputs.add(result);
      // An op that does not say what its result sees may have read any pixel of what it reads.
      if (!this.sights.has(result) && this.#readsPixels(op)) this.sights.set(result, 'present');
    }
    this.ops.push(op);
  }

  #readsPixels(op: RecordedOp): boolean {
    return operandsOf(op).some((tensor) => tensor !== op.result && this.sights.of(tensor) !== 'condition');
  }

  /** Moves the ops from index `from` on to before the op of index `before`. */
  moveOps(from: number, before: number): void {
    this.ops.splice(before, 0, ...this.ops.splice(from));
  }
}
