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

/** Counts the fronts of an image, and the rows of the image that they cross. */
export class Wavefront {
  readonly steps: number;
  /** At index t: the rows of an image on all fronts before t. */
  readonly #rowsBefore: Uint32Array;

  constructor(front: Front, h: number, w: number) {
    this.steps = frontSteps(front, h, w);
    this.#rowsBefore = new Uint32Array(this.steps + 1);
    for (let t = 0; t < this.steps; t += 1)
      this.#rowsBefore[t + 1] = this.#rowsBefore[t]! + frontRows(front, h, w, t);
  }

  /** Rows of an image on the fronts [from, to). */
  rows(from: number, to: number): number {
    return this.#rowsBefore[to]! - this.#rowsBefore[from]!;
  }
}

/** An amount of work on a batch, by the two numbers that its time depends on. */
export interface Fronts {
  /** Fronts that are launched. Those beyond the last front of the image count too, though they draw nothing. */
  readonly fronts: number;
  /** Rows of an image on these fronts. */
  readonly rows: number;
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
 * Returns the longest time that `work` can take after other work was timed. Time is taken to be a · fronts + b · rows with
 * unknown a and b of at least 0, so it grows by no more than the larger of the two ratios.
 */
export function mostMilliseconds(timed: TimedFronts, work: Fronts): number {
  const rows = work.rows === 0 ? 0 : work.rows / timed.rows;
  return timed.milliseconds * Math.max(work.fronts / timed.fronts, rows);
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
    const work = { fronts, rows: wavefront.rows(from, to) };
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
