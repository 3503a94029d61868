// Defines the windows of masked filters: how far a filter reads from its output pixel, and which weights are live.
import type { Reach } from '../program/reach.js';
import type { OwnRow } from '../program/sight.js';

/** At the centre tap, mask A hides the inputs of the output's own channel group, and mask B shows them. */
export type MaskType = 'A' | 'B';

/**
 * The weights of a filter are `rows` x `columns` per pair of channels, and the output pixel lies at row `above`, column
 * `left` of them. The rows before that are live and those after it are masked. `ownRow` says how much of the pixel's own
 * row is live: nothing; what is left of the pixel and, at the pixel, lower channel groups (mask A); also the own channel
 * group at the pixel (mask B); or all of it.
 */
export interface Window {
  readonly rows: number;
  readonly columns: number;
  readonly above: number;
  readonly left: number;
  readonly ownRow: OwnRow;
}

/** A masked filter from c to k channels, without the images that it is applied to. */
export interface Filter {
  /** Input channels. */
  readonly c: number;
  /** Output channels. */
  readonly k: number;
  readonly window: Window;
  /** Channel c of n channels is in group floor(c * channelGroups / n). */
  readonly channelGroups: number;
  /**
   * Whether output channels 2i and 2i + 1 are the two halves of a gate. Both then have the group of channel i of k / 2: with
   * the formula for single channels, a pair could lie in two groups. Default false.
   */
  readonly pairs?: boolean;
}

const ownRowOf = { A: 'left', B: 'centre' } as const;

/**
 * The window of van den Oord et al. 2016a, "Pixel Recurrent Neural Networks", section 3.4: an odd square with the output
 * pixel in the middle.
 */
export function squareWindow(kernelSize: number, maskType: MaskType): Window {
  const centre = (kernelSize - 1) / 2;
  return { rows: kernelSize, columns: kernelSize, above: centre, left: centre, ownRow: ownRowOf[maskType] };
}

/** The pixel itself. */
export const pixelWindow: Window = squareWindow(1, 'B');

/**
 * The window of a vertical stack (van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders", section
 * 2.2): the upper half of a square, with the whole own row in mask B and without it in mask A. A stack that begins with mask
 * A sees only the rows above, in all of its layers.
 */
export function rowsAboveWindow(kernelSize: number, maskType: MaskType): Window {
  const { above, left } = squareWindow(kernelSize, maskType);
  return { rows: above + 1, columns: kernelSize, above, left, ownRow: maskType === 'A' ? 'none' : 'all' };
}

/** The window of a horizontal stack: the left half of one row, which ends with the pixel. */
export function rowSoFarWindow(kernelSize: number, maskType: MaskType): Window {
  const left = (kernelSize - 1) / 2;
  return { rows: 1, columns: left + 1, above: 0, left, ownRow: ownRowOf[maskType] };
}

/** How far a window reads from its pixel. */
export function reachOf({ columns, above, left }: Window): Reach {
  return { above, left, right: columns - 1 - left };
}

/** Counts the taps that are live for all channels. They come first in raster order. */
export function fullTaps({ columns, above, left, ownRow }: Window): number {
  return above * columns + { none: 0, left, centre: left, all: columns }[ownRow];
}

/** Whether the weight from input channel c to output channel o at row r, column s is live, that is, not masked. */
export function isLiveTap(filter: Filter, o: number, c: number, r: number, s: number): boolean {
  const { window, channelGroups } = filter;
  const tap = r * window.columns + s;
  const full = fullTaps(window);
  if (tap !== full || window.ownRow === 'none' || window.ownRow === 'all') return tap < full;
  const outputGroup = filter.pairs
    ? groupOf(Math.floor(o / 2), filter.k / 2, channelGroups)
    : groupOf(o, filter.k, channelGroups);
  const inputGroup = groupOf(c, filter.c, channelGroups);
  return window.ownRow === 'centre' ? inputGroup <= outputGroup : inputGroup < outputGroup;
}

function groupOf(channel: number, channels: number, channelGroups: number): number {
  return Math.floor((channel * channelGroups) / channels);
}

/** Returns the shape of a filter's weight: (K, C, R, S). */
export function weightShape({ c, k, window }: Filter): [number, number, number, number] {
  return [k, c, window.rows, window.columns];
}

/** Counts the weights of a filter that are live. */
export function countLiveWeights(filter: Filter): number {
  const { c, k, window } = filter;
  const [r, s] = [window.above, window.left];
  let live = k * c * fullTaps(window);
  if (window.ownRow === 'none' || window.ownRow === 'all') return live;
  for (let o = 0; o < k; o += 1) for (let i = 0; i < c; i += 1) if (isLiveTap(filter, o, i, r, s)) live += 1;
  return live;
}

/** Sets the weights (K, C, R, S) under the mask to exactly 0. */
export function applyMask(weight: Float32Array, filter: Filter): void {
  const { c: inputs, window } = filter;
  const area = window.rows * window.columns;
  const full = fullTaps(window);
  for (let first = 0, pair = 0; first < weight.length; first += area, pair += 1) {
    const centre = isLiveTap(filter, Math.floor(pair / inputs), pair % inputs, window.above, window.left);
    const live = full + (centre && window.ownRow !== 'all' ? 1 : 0);
    weight.fill(0, first + live, first + area);
  }
}
