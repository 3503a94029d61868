// Records the ops of a program as plain descriptions. Recording computes nothing and allocates no device memory.
import type { Device } from '../device/device.js';
import { type Precision, precisions } from '../device/precision.js';
import { check } from '../errors.js';
import type { Region, SamplerPass } from './sampler-pass.js';
import { wholeImages } from './sampler-pass.js';
import type { OwnRow, Sight } from './sight.js';
import { activationType, type DType, describeTensor, type Tensor } from './tensor.js';

/** The fields of an op by the names that native/ops.h gives them. An optional tensor that is absent is null. */
export interface OpFields {
  readonly [name: string]: number | Tensor | null | readonly OpFields[];
}

/** One recorded op. */
export interface RecordedOp {
  /** The op's name in the op table, e.g. `maskedConv2d`. */
  readonly op: string;
  /** The name that traces and errors show, e.g. `net.2 forward`. */
  readonly label: string;
  readonly fields: OpFields;
  /** The op's main result, whose shape traces show and whose gradient {@link backward} starts from. */
  readonly result?: Tensor;
  /** Whether the result went through a ReLU. Its gradient is then 0 where the result is not positive. */
  readonly relu?: boolean;
  /** Records the gradients of what the op reads. Nothing flows back through an op that has no such rule. */
  readonly backward?: (gradients: GradientSums) => void;
}

/** What the gradient rule of an op may ask for while gradients are recorded (gradients.ts). */
export interface GradientSums {
  /** The gradient of the op's result; undefined if the loss does not depend on it. */
  of(result: Tensor): Tensor | undefined;
  /**
   * Adds to the gradient of x. `record` writes own part + `sum`, and 0 where `reluOutput` is not positive. It is not called
   * if x depends on no parameter.
   */
  add(x: Tensor, record: (sum: Tensor | null, reluOutput: Tensor | null) => Tensor): void;
  /** Adds a gradient that is there already, as that of a sum is for each of its terms. */
  pass(x: Tensor, gradient: Tensor): void;
  /** The place for the gradient of a parameter. Only one op may use a parameter. */
  parameter(name: string): Tensor;
}

/** Packs the weights of filters ahead of the ops that use them. */
export interface PackList {
  /** Describes the packed weights of a filter, once per key. `describe` gives its fields in the op that packs. */
  packed(key: string, bytes: () => number, describe: (packed: Tensor) => OpFields): Tensor;
  /** Records the packing of all filters, into states, before the op of this index. */
  record(r: Recorder, before: number): void;
}

/** What a network is recorded for. */
export interface RecorderOptions {
  /** The precision of activations. Default: the device's. */
  readonly precision?: Precision;
  /** The algorithm of convolutions that may use any. Default `direct`. */
  readonly algorithm?: 'auto' | 'direct' | 'winograd';
  /** The weights in use, by name. */
  readonly parameters?: ReadonlyMap<string, Tensor>;
  /** The places for their gradients, by the same names. Given for training only. */
  readonly gradients?: ReadonlyMap<string, Tensor>;
  /** Packs weights ahead. Without it every weight is packed right before it is used. */
  readonly packs?: PackList;
}

/** The columns and rows around a pixel that an op reads. */
export interface Reach {
  readonly above: number;
  readonly left: number;
  readonly right: number;
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
  /** The part of a network that the sampler has this program compute; undefined for all of it, at all pixels. */
  pass: SamplerPass | undefined;
  /** The image that the network sees, as `present`, and the number of its channel groups. */
  #image: { readonly tensor: Tensor; readonly channelGroups: number } | undefined;
  readonly #sights = new Map<Tensor, Sight>();
  readonly #reaches: Reach[] = [];
  /** Tensors that are made from parameters alone, and the parameters themselves. */
  readonly #trained = new Set<Tensor>();
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
    return this.trained(tensor);
  }

  /** Notes that a tensor depends on parameters, so that training needs the gradient of what is computed from it. */
  trained(tensor: Tensor): Tensor {
    this.#trained.add(tensor);
    return tensor;
  }

  isTrained(tensor: Tensor): boolean {
    return this.#trained.has(tensor);
  }

  /** Whether a tensor is the output of a ReLU. */
  isReluOutput(tensor: Tensor): boolean {
    return this.#reluOutputs.has(tensor);
  }

  /** Says that `tensor` is the image that the network predicts, of so many channels that are predicted one by one. */
  image(tensor: Tensor, channelGroups: number): Tensor {
    this.#image = { tensor, channelGroups };
    return tensor;
  }

  /** Returns what a tensor sees. One that no pixel-wise op has computed sees no pixel. */
  sightOf(tensor: Tensor): Sight {
    if (tensor === this.#image?.tensor) return 'present';
    return this.pass?.canvas.sights.get(tensor) ?? this.#sights.get(tensor) ?? 'condition';
  }

  /**
   * Notes that an op reads `x` around each pixel and, if it reads the pixel itself or what is left of it, that it separates
   * channels into so many groups.
   * @throws PixelCnnError ERR_CAUSALITY for groups other than those of the image, whose outputs could see later channels.
   */
  reads(label: string, x: Tensor, reach: Reach, ownRow: OwnRow, channelGroups: number): void {
    const sees = this.sightOf(x);
    const image = this.#image?.channelGroups ?? channelGroups;
    const later = sees === 'past' || sees === 'present';
    check(!later || ownRow === 'none' || channelGroups === image, 'ERR_CAUSALITY', () => {
      return `${label}: has ${channelGroups} channel groups over an image of ${image} channels, so that a channel could see a later one`;
    });
    this.#reaches.push(reach);
    if (reach.above + reach.left + reach.right > 0) this.pass?.canvas.keep(x);
  }

  /** The farthest that an op of this program reads from a pixel. */
  get reach(): Reach {
    const most = (side: keyof Reach) => Math.max(0, ...this.#reaches.map((reach) => reach[side]));
    return { above: most('above'), left: most('left'), right: most('right') };
  }

  /** Whether an op of this program computes what sees exactly this much. */
  computes(sees: Sight): boolean {
    return [...this.#sights.values()].includes(sees);
  }

  /** Returns n, h and w of the images that a tensor of activations belongs to. */
  imagesOf(x: Tensor): { n: number; h: number; w: number } {
    if (this.pass !== undefined) return this.pass.canvas.images;
    const [n, h, w] = x.shape as [number, number, number];
    return { n, h, w };
  }

  /**
   * Records an op that computes every pixel of its result (N, H, W, channels) by itself. In a pass of the sampler the result
   * is one tensor for all passes, with a border of zeros, and the op is recorded only in the pass whose turn it is.
   */
  pixelwise(
    name: string,
    images: { n: number; h: number; w: number },
    channels: number,
    sees: Sight,
    describe: (result: Tensor, region: Region, position: Tensor | null) => RecordedOp,
    dtype: DType = activationType[this.precision],
  ): Tensor {
    const { pass } = this;
    if (pass === undefined) {
      const result = this.tensor(name, [images.n, images.h, images.w, channels], dtype);
      this.#sights.set(result, sees);
      this.emit(describe(result, wholeImages, null));
      return result;
    }
    const result = pass.result(name, channels, dtype, sees);
    if (pass.computes(sees)) {
      const op = describe(result, pass.region, pass.canvas.position);
      for (const operand of operandsOf(op)) pass.readsOperand(operand);
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
    if (op.relu && op.result !== undefined) this.#reluOutputs.add(op.result);
    this.ops.push(op);
  }

  /** Moves the ops from index `from` on to before the op of index `before`. */
  moveOps(from: number, before: number): void {
    this.ops.splice(before, 0, ...this.ops.splice(from));
  }
}

/** Returns the tensors among the fields of an op, in order. */
export function operandsOf({ fields }: { readonly fields: OpFields }): Tensor[] {
  return Object.values(fields).flatMap((value) => {
    if (value === null || typeof value === 'number') return [];
    return isList(value) ? value.flatMap((item) => operandsOf({ fields: item })) : [value];
  });
}

function isList(value: Tensor | readonly OpFields[]): value is readonly OpFields[] {
  return Array.isArray(value);
}
