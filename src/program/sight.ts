// Defines what tensors of a network see, that is, which pixels they depend on. This decides whether a model is causal
// and when the sampler computes a tensor.
import { check } from '../errors.js';
import type { Tensor } from './tensor.js';

/**
 * What a tensor sees, from least to most. At a pixel (i, j) it depends on
 * `condition`: no pixel;
 * `rows`: pixels of the rows above i;
 * `past`: also pixels left of j in row i and, at (i, j) itself, lower channels than its own;
 * `present`: also (i, j) itself, as the image does.
 */
export const sights = ['condition', 'rows', 'past', 'present'] as const;
/** How much of the image a tensor sees, see {@link sights}. */
export type Sight = (typeof sights)[number];

/** How much of its own row an output pixel sees through a filter (OwnRow of native/op_shapes.h). */
export const ownRows = ['none', 'left', 'centre', 'all'] as const;
/** How much of its own row a filter sees, see {@link ownRows}. */
export type OwnRow = (typeof ownRows)[number];

/** Returns what a tensor sees that is computed, pixel by pixel, from tensors that see `parts`. */
export function joinedSight(...parts: readonly Sight[]): Sight {
  return sights[Math.max(...parts.map((part) => sights.indexOf(part)))]!;
}

/**
 * Returns what the result of a filter sees, if the filter is applied to a tensor that sees `x`.
 * @throws PixelCnnError ERR_CAUSALITY for a filter over the whole own row of a tensor that sees more than `rows`.
 */
export function sightThrough(label: string, x: Sight, ownRow: OwnRow): Sight {
  if (x === 'condition' || x === 'rows') return x;
  check(ownRow !== 'all', 'ERR_CAUSALITY', () => {
    return `${label}: reads pixels to the right of its own from a tensor that has seen them`;
  });
  if (ownRow === 'none') return 'rows';
  return ownRow === 'left' ? 'past' : x;
}

/** Keeps what each tensor of one network sees. */
export class Sights {
  /** The image that the network predicts, and the number of its channels that are predicted one by one. */
  #image: { readonly tensor: Tensor; readonly channelGroups: number } | undefined;
  readonly #of = new Map<Tensor, Sight>();

  /** Says which tensor is the image. */
  setImage(tensor: Tensor, channelGroups: number): void {
    this.#image = { tensor, channelGroups };
  }

  /** Sets what a tensor sees. */
  set(tensor: Tensor, sees: Sight): void {
    this.#of.set(tensor, sees);
  }

  /** Whether it was set what this tensor sees, as it is for all activations but the image. */
  has(tensor: Tensor): boolean {
    return this.#of.has(tensor);
  }

  /** Returns what a tensor sees. One that was never set sees no pixel. */
  of(tensor: Tensor): Sight {
    return tensor === this.#image?.tensor ? 'present' : (this.#of.get(tensor) ?? 'condition');
  }

  /** Whether a tensor besides the image sees exactly this much. */
  includes(sees: Sight): boolean {
    return [...this.#of.values()].includes(sees);
  }

  /**
   * Checks that an op whose result sees this much has a channel group for each image channel. The sampler computes such a
   * result for one of these groups at a time, even if the op itself reads only rows above and adds what sees more.
   * @throws PixelCnnError ERR_CAUSALITY for another number of groups, with which a channel could see a later one.
   */
  checkGroups(label: string, sees: Sight, channelGroups: number): void {
    if (this.#image === undefined || sees === 'condition' || sees === 'rows') return;
    const { channelGroups: needed } = this.#image;
    check(channelGroups === needed, 'ERR_CAUSALITY', () => {
      return `${label}: has ${channelGroups} channel groups over an image of ${needed} channels, so that a channel could see a later one`;
    });
  }
}
