// Defines a row of the table of tested ops: the cases of an op, with float64 loops for what it must compute.
import type { Precision } from '../../src/device/precision.js';
import type { Recorder } from '../../src/program/recorder.js';
import type { SamplerCanvas } from '../../src/program/sampler-pass.js';
import type { DType, Tensor } from '../../src/program/tensor.js';
import type { TestRandom } from './random.js';

/** A tensor of a case: its shape and values. An `activation` is stored in the precision of the program. */
export interface TestTensor {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
  readonly type: 'activation' | Extract<DType, 'float32' | 'float64' | 'uint8' | 'uint32' | 'int32'>;
}

/** The values of tensors by name. */
export type Arrays = Readonly<Record<string, ArrayLike<number>>>;
/** Recorded tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** An op on drawn operands, with what it must compute from them. */
export interface OpCase {
  /** Names the case in failures. */
  readonly text: string;
  readonly inputs: Readonly<Record<string, TestTensor>>;
  /** Records the op and returns what it writes. */
  record(r: Recorder, inputs: Tensors): Tensors;
  /** Computes the same in float64, from the inputs as the precision stores them. Integers are compared exactly. */
  reference(inputs: Arrays, precision: Precision): Arrays;
  /** For an op with a gradient rule. */
  readonly gradients?: GradientCase;
}

/** How the gradient rule of an op is tested. */
export interface GradientCase {
  /** Records the op with its rule and returns its result. The parameters are in the recorder under their names. */
  record(r: Recorder, inputs: Tensors): Tensor;
  /** The inputs that are parameters. */
  readonly parameters: readonly string[];
  /** The inputs that other ops compute, which therefore get gradients too. */
  readonly activations: readonly string[];
  /** The output of `reference` that the op returns. */
  readonly output: string;
  /** Whether that is the nats of a head, whose gradients are those of their mean over all values. Default false. */
  readonly loss?: boolean;
}

/** A row of the table: how one op is tested. */
export interface OpRow {
  readonly op: string;
  /** The number of cases on the CPU. Slower tests take a part of it. */
  readonly cases: number;
  /** Draws a small case. */
  draw(random: TestRandom, index: number): OpCase;
  /** Draws a small case with a region, for an op that has one. */
  drawRegion?(random: TestRandom, index: number): RegionCase;
}

/** An op for whole images and, with the same results, in a region of bordered tensors. */
export interface RegionCase {
  /** Names the case in failures. */
  readonly text: string;
  readonly canvas: SamplerCanvas;
  readonly inputs: Readonly<Record<string, TestTensor>>;
  /** Records the op for whole images and returns its result without border. */
  whole(r: Recorder, inputs: Tensors): Tensor;
  /** Records what runs at each position, and returns the result with border. */
  region(r: Recorder, inputs: Tensors, canvas: SamplerCanvas): Tensor;
  /** The number of positions until all pixels are computed. */
  readonly steps: number;
}
