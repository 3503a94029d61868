// Defines the convolution layer, which declares the weight and bias of a masked filter and applies it.
import type { Declarations } from '../ops/declarations.js';
import { type ConvolutionOptions, maskedConv2d, type NamedFilter } from '../ops/masked-conv2d.js';
import { fullTaps, type Window, weightShape } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/**
 * Initial weights are uniform in ±sqrt(scale / inputs). 3 keeps the variance of what a layer reads, as for a sum. A ReLU
 * halves the mean square, so that 6 keeps it (He et al. 2015). A gate makes of small a and b about a / 2, a quarter of the
 * variance, so 12 keeps it. Logits begin small.
 */
const initialScales = { relu: 6, gate: 12, sum: 3, logits: 1 } as const;

/** What a convolution layer has besides its size. */
export interface Conv2dOptions {
  /** The channel groups that the mask separates at the pixel itself. Default 1. */
  readonly channelGroups?: number;
  /** Whether output channels 2i and 2i + 1 are the halves of one gate, and so of one group. Default false. */
  readonly pairs?: boolean;
  /** Whether the layer has a bias. Default true. */
  readonly bias?: boolean;
  /** What the result goes into, from which the size of initial weights follows. Default `relu`. */
  readonly before?: keyof typeof initialScales;
}

/** A masked convolution from c to k channels. */
export class Conv2d {
  readonly filter: NamedFilter;

  /**
   * Declares `NAME.weight` (K, C, R, S) and `NAME.bias` (K). Initial weights are uniform in ±sqrt(scale / inputs), where the
   * scale follows from `before`, and `inputs` is C times the live taps; the centre counts in mask B and not in A. Initial
   * biases are 0.
   */
  constructor(
    declarations: Declarations,
    name: string,
    c: number,
    k: number,
    window: Window,
    options: Conv2dOptions = {},
  ) {
    const { channelGroups = 1, pairs = false, bias = true, before = 'relu' } = options;
    this.filter = { name, c, k, window, channelGroups, pairs, bias };
    const liveTaps = fullTaps(window) + (window.ownRow === 'centre' ? 1 : 0);
    const bound = Math.sqrt(initialScales[before] / Math.max(liveTaps * c, 1));
    const shape = weightShape(this.filter);
    declarations.add({ name: `${name}.weight`, shape, filter: this.filter, bound });
    if (bias) declarations.add({ name: `${name}.bias`, shape: [k], filter: null, bound: 0 });
  }

  /** Records conv(x) + bias + add, followed by a ReLU if `relu` (default false): (N, H, W, C) to (N, H, W, K). */
  forward(r: Recorder, x: Tensor, options: Pick<ConvolutionOptions, 'add' | 'relu'> = {}): Tensor {
    return maskedConv2d(r, this.filter, x, options);
  }
}
