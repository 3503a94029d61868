// Defines the masked convolution layer, which records a convolution with its parameters forward and backward.
import {
  type Algorithm,
  type Direction,
  type FilterPack,
  type FilterShape,
  type MaskedConv2dShape,
  maskedConv2dBackwardInput,
  maskedConv2dBackwardWeight,
  maskedConv2dForward,
  packedBytes,
} from '../ops/masked-conv2d.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** One masked convolution of a network. It has one channel group per image channel. */
export interface LayerConfig extends Omit<FilterShape, 'algorithm'> {
  /** PyTorch's name of the module, e.g. `net.0`. */
  readonly name: string;
}

/** Weight (K, C, R, S) and bias (K), or their gradients. */
export interface LayerParameters {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** A masked convolution with its weight and bias. */
export class MaskedConv2d {
  readonly config: LayerConfig;
  readonly parameters: LayerParameters;

  constructor(config: LayerConfig, parameters: LayerParameters) {
    this.config = config;
    this.parameters = parameters;
  }

  /** Returns the shape of this convolution for n images of h x w pixels. */
  shape([n, h, w]: readonly number[], algorithm: Algorithm): MaskedConv2dShape {
    return { n: n!, h: h!, w: w!, ...this.config, algorithm };
  }

  /** Describes the packing of the layer's filter, into a state if `keep` and into a temporary tensor otherwise. */
  filterPack(r: Recorder, direction: Direction, algorithm: Algorithm, keep: boolean): FilterPack {
    const filter = { ...this.config, algorithm };
    const bytes = packedBytes(r, filter, direction);
    const name = `${this.config.name} packed`;
    const packed = keep ? r.state(name, [bytes], 'byte') : r.tensor(name, [bytes], 'byte');
    return { filter, direction, weight: this.parameters.weight, packed };
  }

  /** Records ReLU(conv(x) + bias), (N, H, W, C) to (N, H, W, K). `packed` has the weights packed forward. */
  forward(r: Recorder, x: Tensor, algorithm: Algorithm, packed: Tensor): Tensor {
    return maskedConv2dForward(r, `${this.config.name} forward`, this.shape(x.shape, algorithm), {
      x,
      packed,
      bias: this.parameters.bias,
      relu: true,
    });
  }

  /** Records the gradients of weight and bias, from the layer's input and the gradient before its ReLU. */
  backwardWeight(
    r: Recorder,
    x: Tensor,
    gradY: Tensor,
    gradient: LayerParameters,
    algorithm: Algorithm,
  ): void {
    maskedConv2dBackwardWeight(r, `${this.config.name} weight gradient`, this.shape(x.shape, algorithm), {
      x,
      gradY,
      gradWeight: gradient.weight,
      gradBias: gradient.bias,
    });
  }

  /**
   * Records the gradient of what the layer below computes before its ReLU. It is 0 where x, the output of that ReLU, is 0.
   * `packedBackward` has the weights packed backward.
   */
  backwardInput(r: Recorder, x: Tensor, gradY: Tensor, algorithm: Algorithm, packedBackward: Tensor): Tensor {
    return maskedConv2dBackwardInput(
      r,
      `${this.config.name} input gradient`,
      this.shape(x.shape, algorithm),
      {
        gradY,
        packedBackward,
        reluOutput: x,
      },
    );
  }
}
