// Defines the categorical head, which predicts a logit for each level of each channel by a 1x1 masked convolution, and
// records their likelihood and draws.
import { check } from '../errors.js';
import type { Declarations } from '../ops/declarations.js';
import { maskedConv2d, type NamedFilter, packedFilter } from '../ops/masked-conv2d.js';
import { type DrawOperands, sampleFront } from '../ops/sample.js';
import { type HeadShape, softmaxCrossEntropy } from '../ops/softmax-cross-entropy.js';
import { pixelWindow } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { Conv2d } from './conv2d.js';

/** A categorical distribution over levels for each channel. Logit c * levels + v is that of level v of channel c. */
export class SoftmaxHead {
  readonly #filter: NamedFilter;
  readonly #channels: number;
  readonly #levels: number;

  /** `c` is the number of channels of the features that it predicts from, `channels` that of the image. */
  constructor(declarations: Declarations, name: string, c: number, channels: number, levels: number) {
    const options = { channelGroups: channels, before: 'logits' } as const;
    this.#filter = new Conv2d(declarations, name, c, channels * levels, pixelWindow, options).filter;
    this.#channels = channels;
    this.#levels = levels;
  }

  /** Records the logits (N, H, W, channels * levels), in float32. */
  logits(r: Recorder, x: Tensor): Tensor {
    this.#checkCausal(r, x);
    return maskedConv2d(r, this.#filter, x, { algorithm: 'direct', floatY: true, purpose: 'logits' });
  }

  /** Records nats (N, float64) of the levels (N, H, W, channels), and in training their gradients in the same op. */
  nats(r: Recorder, x: Tensor, level: Tensor): Tensor {
    this.#checkCausal(r, x);
    const { name } = this.#filter;
    const packed = packedFilter(r, this.#filter, 'direct', 'forward');
    const training = r.options.gradients && {
      name,
      packedBackward: packedFilter(r, this.#filter, 'direct', 'backward'),
    };
    const operands = { x, packed, bias: r.parameter(`${name}.bias`), level };
    return softmaxCrossEntropy(r, 'head', this.#shape(r, x), operands, training);
  }

  /** Records the draw of one channel, that of the sampler's pass which is being recorded, at the pixels of its front. */
  draw(r: Recorder, x: Tensor, operands: DrawOperands): void {
    this.#checkCausal(r, x);
    const { region, canvas } = r.pass!;
    r.pass!.noteOperand(x);
    const packed = packedFilter(r, this.#filter, 'direct', 'forward');
    const head = { x, packed, bias: r.parameter(`${this.#filter.name}.bias`), position: canvas.position };
    const shape = this.#shape(r, x);
    // With guidance the network runs on two images for each that is drawn.
    const n = operands.guidance === null ? shape.n : shape.n / 2;
    sampleFront(r, `draw channel ${region.group}`, { ...shape, n }, region, head, operands);
  }

  #shape(r: Recorder, x: Tensor): HeadShape {
    return { ...r.imagesOf(x), c: this.#filter.c, channels: this.#channels, levels: this.#levels };
  }

  #checkCausal(r: Recorder, x: Tensor): void {
    const { name, channelGroups } = this.#filter;
    const sees = r.sights.of(x);
    check(
      sees !== 'present',
      'ERR_CAUSALITY',
      () => `${name}: predicts pixels from features that have seen them`,
    );
    r.sights.checkGroups(name, sees, channelGroups);
  }
}
