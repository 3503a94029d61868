// Finds on which side of a ReLU's kink rounding put the values that lie nearly on one.
import type { Algorithm } from '../../src/program/algorithm.js';

/**
 * How near to a ReLU's kink a value of the golden networks, where values are about 0.1, may lie for rounding to put it on
 * the other side. Winograd's transforms round more than the direct algorithm.
 */
export const roundingNearKinks: Readonly<Record<Exclude<Algorithm, 'auto'>, number>> = {
  direct: 1e-8,
  winograd: 1e-7,
};

/** More values on a kink than this would make it likely that a wrong gradient fits one of the combinations. */
const mostNear = 4;

/**
 * Returns compute([]), which is computed in float64, if it fits `limit`. Otherwise it puts values near a kink on the other
 * side, one after the other, and keeps those that bring the result nearer. `distancesOf` are the distances of a result from
 * what is tested; the caller still has to check them. Throws if too many values lie near a kink.
 */
export function fitKinks<T extends { readonly near: number }>(
  compute: (flipped: readonly number[]) => T,
  distancesOf: (result: T) => readonly number[],
  limit: number,
): T {
  const total = (result: T) => distancesOf(result).reduce((sum, distance) => sum + distance ** 2, 0);
  let best = compute([]);
  if (distancesOf(best).every((distance) => distance <= limit)) return best;
  const { near } = best;
  console.info(`${near} values lie within rounding of a kink`);
  if (near > mostNear) throw new Error(`the results differ, but too many values lie on a kink: ${near}`);
  let flipped: readonly number[] = [];
  for (let value = 0; value < near; value += 1) {
    const other = compute([...flipped, value]);
    if (total(other) < total(best)) [best, flipped] = [other, [...flipped, value]];
  }
  return best;
}
