// Reads from the fields of a recorded op what the costs of a convolution depend on.
import { ownRows } from '../../dist/program/sight.js';
import { tapsOf } from './kernel-costs.mjs';

/**
 * Returns channels, taps and weights of the filter of an op: `taps` have a weight that is not masked, `slots` are those of
 * the packed filter, `weights` all of the window.
 */
export function filterOf({ c, k, rows, columns, above, left, ownRow, channelGroups }) {
  const window = { columns, above, left, ownRow: ownRows[ownRow] };
  const { live: taps, slots } = tapsOf({ window, channelGroups });
  return { c, k, columns, taps, slots, weights: rows * columns };
}
