// Defines one layer of the Gated PixelCNN (van den Oord et al. 2016b, sections 2.1 and 2.2, figure 2).
import type { Declarations } from '../ops/declarations.js';
import { gatedActivation } from '../ops/gated-activation.js';
import { pixelWindow, rowSoFarWindow, rowsAboveWindow, type Window } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { ConditionProjection, type ConditionShape } from './condition.js';
import { Conv2d, type Conv2dOptions } from './conv2d.js';

/**
 * What one layer passes on to the next: its two stacks, and the sum of the skip connections so far. Each is (N, H, W,
 * hiddenChannels); before the first layer both stacks are the image.
 */
export interface Stacks {
  /** Sees the rows above. */
  readonly vertical: Tensor;
  /** Sees the rows above and the row so far. */
  readonly horizontal: Tensor;
  /** Null before the first layer. */
  readonly skip: Tensor | null;
}

/** What a gated layer has besides its inputs and filter size. */
export interface GatedLayerOptions {
  readonly channelGroups: number;
  readonly hiddenChannels: number;
  /** The first layer has mask A and no residual sum, because its input is the image. */
  readonly isFirst: boolean;
  /** The last layer returns only the sum of skip connections: it has no residual and no vertical gate. */
  readonly isLast: boolean;
  /** The condition that the gates of both stacks are given, if the network has one. */
  readonly condition: ConditionShape | undefined;
}

/**
 * A vertical and a horizontal convolution, each followed by a gate:
 *
 *     a = vertical * v                          v' = gate(a + U c)
 *     g = gate(horizontal * h + link a + U c)   h' = residual g + h
 *                                               skip' = skip g + skip
 *
 * c is the condition, if there is one. Each stack has its own U.
 */
export class GatedLayer {
  readonly #name: string;
  readonly #isFirst: boolean;
  readonly #channelGroups: number;
  readonly #vertical: Conv2d;
  readonly #horizontal: Conv2d;
  readonly #link: Conv2d;
  readonly #residual: Conv2d | null;
  readonly #skip: Conv2d;
  readonly #conditionVertical: ConditionProjection | null;
  readonly #conditionHorizontal: ConditionProjection | null;

  /**
   * Declares the convolutions `NAME.vertical`, `NAME.horizontal`, `NAME.link`, `NAME.residual` (not in the last layer) and
   * `NAME.skip`, and with a condition its projections `NAME.condition_vertical` (not in the last layer) and
   * `NAME.condition_horizontal`. `inputs` is the number of channels of both stacks, `kernelSize` the odd width of the
   * vertical filter.
   */
  constructor(
    declarations: Declarations,
    name: string,
    inputs: number,
    kernelSize: number,
    options: GatedLayerOptions,
  ) {
    const { channelGroups, hiddenChannels: p, isFirst, isLast, condition } = options;
    this.#name = name;
    this.#isFirst = isFirst;
    this.#channelGroups = channelGroups;
    const maskType = isFirst ? 'A' : 'B';
    const conv = (part: string, c: number, k: number, window: Window, more: Conv2dOptions) =>
      new Conv2d(declarations, `${name}.${part}`, c, k, window, more);
    this.#vertical = conv('vertical', inputs, 2 * p, rowsAboveWindow(kernelSize, maskType), {
      before: 'gate',
    });
    this.#horizontal = conv('horizontal', inputs, 2 * p, rowSoFarWindow(kernelSize, maskType), {
      channelGroups,
      pairs: true,
      before: 'gate',
    });
    // The vertical stack has seen rows above only, so all of its channels may be seen.
    this.#link = conv('link', 2 * p, 2 * p, pixelWindow, { bias: false, before: 'sum' });
    const projection = (stack: string) =>
      condition
        ? new ConditionProjection(declarations, `${name}.condition_${stack}`, condition, 2 * p)
        : null;
    this.#conditionVertical = isLast ? null : projection('vertical');
    this.#conditionHorizontal = projection('horizontal');
    this.#residual = isLast ? null : conv('residual', p, p, pixelWindow, { channelGroups, before: 'sum' });
    this.#skip = conv('skip', p, p, pixelWindow, { channelGroups, before: 'sum' });
  }

  /** Records the layer, given the condition if it has one. The sum of the skip connections goes through a ReLU at the end. */
  forward(r: Recorder, { vertical, horizontal, skip }: Stacks, condition: Tensor | null): Stacks {
    const gate = (stack: string, x: Tensor, groups: number, projection: ConditionProjection | null) => {
      const projected = condition === null || projection === null ? null : projection.forward(r, condition);
      return gatedActivation(r, `${this.#name}.${stack} gate`, x, groups, projected);
    };
    const above = this.#vertical.forward(r, vertical);
    const row = this.#horizontal.forward(r, horizontal, { add: this.#link.forward(r, above) });
    const gated = gate('horizontal', row, this.#channelGroups, this.#conditionHorizontal);
    const sum = this.#skip.forward(r, gated, { add: skip, relu: this.#residual === null });
    if (this.#residual === null) return { vertical, horizontal, skip: sum };
    return {
      vertical: gate('vertical', above, 1, this.#conditionVertical),
      horizontal: this.#residual.forward(r, gated, { add: this.#isFirst ? null : horizontal }),
      skip: sum,
    };
  }
}
