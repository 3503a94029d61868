// The masked convolution layer: a filter with its parameters, recorded forward and backward.
import type { LayerConfig } from '../models/config.js';
import {
  type Algorithm,
  type Direction,
  type FilterPack,
  type MaskedConv2dGeometry,
  maskedConv2dBackwardInput,
  maskedConv2dBackwardWeight,
  maskedConv2dForward,
  packedBytes,
} from '../ops/masked-conv2d.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** Weight (K, C, R, S) and bias (K), or their gradients. */
export interface Filter {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

export class MaskedConv2d {
  readonly config: LayerConfig;
  readonly filter: Filter;

  constructor(config: LayerConfig, filter: Filter) {
    this.config = config;
    this.filter = filter;
  }

  geometry(n: number, h: number, w: number, algorithm: Algorithm): MaskedConv2dGeometry {
    return { n, h, w, ...this.config, algorithm };
  }

  /** The layer's filter as {@link maskedConv2dPack} takes it; the packed tensor keeps its memory from run to run if `keep`. */
  filterPack(r: Recorder, direction: Direction, algorithm: Algorithm, keep: boolean): FilterPack {
    const geometry = this.geometry(1, 1, 1, algorithm);
    const bytes = packedBytes(r, geometry, direction);
    const name = `${this.config.name} packed`;
    const packed = keep ? r.state(name, [bytes], 'byte') : r.tensor(name, [bytes], 'byte');
    return { geometry, direction, weight: this.filter.weight, packed };
  }

  /** ReLU(conv(x) + bias): (N, H, W, C) to (N, H, W, K). `packed`: weights packed forward for this algorithm. */
  forward(r: Recorder, x: Tensor, algorithm: Algorithm, packed: Tensor): Tensor {
    const [n, h, w] = x.shape as [number, number, number, number];
    return maskedConv2dForward(r, `${this.config.name} forward`, this.geometry(n, h, w, algorithm), {
      x,
      packed,
      bias: this.filter.bias,
      relu: true,
    });
  }

  /** Gradients of weight and bias from the layer's input and the gradient before its ReLU. */
  backwardWeight(r: Recorder, x: Tensor, gradY: Tensor, gradient: Filter, algorithm: Algorithm): void {
    const [n, h, w] = x.shape as [number, number, number, number];
    maskedConv2dBackwardWeight(r, `${this.config.name} weight gradient`, this.geometry(n, h, w, algorithm), {
      x,
      gradY,
      gradWeight: gradient.weight,
      gradBias: gradient.bias,
    });
  }

  /**
   * Gradient of the layer's input x, gated by x > 0 because x is the ReLU output of the layer below. `packedBackward`:
   * weights packed backward for this algorithm.
   */
  backwardInput(r: Recorder, x: Tensor, gradY: Tensor, algorithm: Algorithm, packedBackward: Tensor): Tensor {
    const [n, h, w] = x.shape as [number, number, number, number];
    return maskedConv2dBackwardInput(
      r,
      `${this.config.name} input gradient`,
      this.geometry(n, h, w, algorithm),
      {
        gradY,
        packedBackward,
        gate: x,
      },
    );
  }
}
