// Reads from the fields of a recorded op what the costs of a convolution depend on.
import { ownRows } from '../../dist/program/sight.js';
import { tapsOf } from './kernel-costs.mjs';

/**
 * Returns channels, taps and weights of the filter of an op: `taps` have a weight that is not masked, `slots` are those of
 * the packed filter, `weights` all of the window. cuDNN has graphs only for windows that are masked squares.
 */
export function filterOf({ c, k, rows, columns, above, left, ownRow, channelGroups }) {
  const window = { columns, above, left, ownRow: ownRows[ownRow] };
  const { live: taps, slots } = tapsOf({ window, channelGroups });
  const isSquare = rows === columns && rows % 2 === 1 && above === left && 2 * left + 1 === rows;
  const isMaskedSquare = isSquare && (window.ownRow === 'left' || window.ownRow === 'centre');
  return { c, k, columns, taps, slots, weights: rows * columns, isMaskedSquare };
}
