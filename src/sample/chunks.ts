// Decides how many fronts of the wavefront are submitted at once, from how long fronts before them took.
import { type Front, frontRows, frontSteps } from '../program/front.js';

/** The most milliseconds of work that the device may have in flight, because an abort waits for all of it. */
export const inFlightMilliseconds = 40;
/** The most milliseconds of a chunk of single fronts. */
const chunkMilliseconds = 25;
/** The fronts of the first chunk, which is short because nothing was timed before it. */
const untimedFronts = 4;
/** The most repeats of one native call. */
const mostRepeats = 4096;

/**
 * The work of a row that begins, for each of its pixels, where whole rows are computed of what sees the rows above, in units
 * of a pixel at the front. A gated network multiplies 2.7 times as much for it with filters of 3, and 4.3 times with 5, but
 * at a higher rate, because a row has many pixels.
 */
const rowStartWork = 3;

/** Counts the fronts of an image, and the pixels on them. */
export class Wavefront {
  readonly steps: number;
  /** At index t: the work of all fronts before t. */
  readonly #workBefore: Uint32Array;

  /** `wholeRows` says whether a front with which a row begins computes something for the whole row. */
  constructor(front: Front, h: number, w: number, wholeRows = false) {
    this.steps = frontSteps(front, h, w);
    this.#workBefore = new Uint32Array(this.steps + 1);
    for (let t = 0; t < this.steps; t += 1) {
      const begins = wholeRows && t % front.slope === 0;
      const work = frontRows(front, h, w, t) + (begins ? rowStartWork * w : 0);
      this.#workBefore[t + 1] = this.#workBefore[t]! + work;
    }
  }

  /** The pixels of an image on the fronts [from, to), and as many for each row that begins as that is worth. */
  pixels(from: number, to: number): number {
    return this.#workBefore[to]! - this.#workBefore[from]!;
  }
}

/** An amount of work on a batch, by the two numbers that its time depends on. */
export interface Fronts {
  /** Fronts that are launched. Those beyond the last front of the image count too, though they draw nothing. */
  readonly fronts: number;
  /** Pixels of an image on these fronts, as {@link Wavefront.pixels} counts them. */
  readonly pixels: number;
}

export interface TimedFronts extends Fronts {
  readonly milliseconds: number;
}

/** The work that is submitted at once: a program, how often it runs, and the step of the wavefront that it leads to. */
export interface Chunk extends Fronts {
  /** `front` draws one front, `block` as many as the sampler's blocks have. */
  readonly program: 'front' | 'block';
  readonly repeat: number;
  readonly to: number;
  /** The longest time that it can take, by {@link mostMilliseconds}. Infinite if nothing was timed before. */
  readonly milliseconds: number;
}

/**
 * Returns the longest time that `work` can take after other work was timed. Time is taken to be a · fronts + b · pixels with
 * unknown a and b of at least 0, so it grows by no more than the larger of the two ratios.
 */
export function mostMilliseconds(timed: TimedFronts, work: Fronts): number {
  const pixels = work.pixels === 0 ? 0 : work.pixels / timed.pixels;
  return timed.milliseconds * Math.max(work.fronts / timed.fronts, pixels);
}

/**
 * Returns the chunk that begins at front `from` and ends at `until` or before it. It consists of blocks if they take no
 * longer than {@link inFlightMilliseconds}, and of single fronts otherwise. `block` is the number of fronts of a block, 0 if
 * there are no blocks; `timed` is the work that was timed last. A block may run past the last front of the image, where it
 * draws nothing, if at least half of it draws.
 */
export function nextChunk(
  wavefront: Wavefront,
  from: number,
  until: number,
  block: number,
  timed: TimedFronts | undefined,
): Chunk {
  const left = until - from;
  const chunk = (program: Chunk['program'], repeat: number): Chunk => {
    const fronts = program === 'block' ? repeat * block : repeat;
    const to = from + Math.min(fronts, left);
    const work = { fronts, pixels: wavefront.pixels(from, to) };
    const milliseconds = timed === undefined ? Number.POSITIVE_INFINITY : mostMilliseconds(timed, work);
    return { ...work, program, repeat, to, milliseconds };
  };
  if (timed === undefined) return chunk('front', Math.min(untimedFronts, left));
  const blocks = until === wavefront.steps ? Math.round(left / block) : Math.floor(left / block);
  const fits = (program: Chunk['program'], most: number) => (repeat: number) =>
    chunk(program, repeat).milliseconds <= most;
  const repeat = block > 0 ? largest(blocks, fits('block', inFlightMilliseconds)) : 0;
  if (repeat > 0) return chunk('block', repeat);
  return chunk('front', Math.max(1, largest(Math.min(left, mostRepeats), fits('front', chunkMilliseconds))));
}

/** Returns the largest number from 1 to `most` that fits, or 0 if 1 does not. Every number below one that fits must fit. */
function largest(most: number, fits: (value: number) => boolean): number {
  if (most === 0 || fits(most)) return most;
  let [low, high] = [0, most];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}
