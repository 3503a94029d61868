// Defines how far an op reads from the pixel that it computes.
import type { Tensor } from './tensor.js';

/** How many rows above a pixel, and columns on either side of it, an op reads. */
export interface Reach {
  readonly above: number;
  readonly left: number;
  readonly right: number;
}

/** An operand that an op reads around each pixel that it computes. */
export interface Neighbourhood {
  readonly x: Tensor;
  readonly reach: Reach;
}
