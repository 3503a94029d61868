// Defines the projection of a condition (van den Oord et al. 2016b, section 2.3): U c, which layers add to their activations.
import type { Declarations } from '../ops/declarations.js';
import { embedding } from '../ops/embedding.js';
import { maskedConv2d } from '../ops/masked-conv2d.js';
import { pixelWindow } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** The condition of a network: labels (N) of one of `size` classes, or values (N, 1 or H, 1 or W, size). */
export interface ConditionShape {
  readonly kind: 'labels' | 'values';
  readonly size: number;
}

/** A linear map from a condition to k channels. */
export class ConditionProjection {
  readonly #name: string;
  readonly #shape: ConditionShape;
  readonly #k: number;

  /**
   * Declares `NAME.weight`: a row for each class (size, K), or a matrix (K, size). Its initial values are 0, so that a new
   * model is at first the model without a condition.
   */
  constructor(declarations: Declarations, name: string, shape: ConditionShape, k: number) {
    this.#name = name;
    this.#shape = shape;
    this.#k = k;
    const { kind, size } = shape;
    declarations.add({
      name: `${name}.weight`,
      shape: kind === 'labels' ? [size, k] : [k, size],
      filter: null,
      bound: 0,
    });
  }

  /** Records U c: (N, 1, 1, K) for one vector per image, and (N, H, W, K) for a map. */
  forward(r: Recorder, condition: Tensor): Tensor {
    const { kind, size } = this.#shape;
    if (kind === 'labels') return embedding(r, `${this.#name}.weight`, condition);
    const filter = {
      name: this.#name,
      c: size,
      k: this.#k,
      window: pixelWindow,
      channelGroups: 1,
      bias: false,
    };
    return maskedConv2d(r, filter, condition, { algorithm: 'direct' });
  }
}
