// Says what a tensor of a network may depend on, which decides whether a model is causal and when the sampler computes it.
import { check } from '../errors.js';

/**
 * What a tensor sees, from least to most. At a pixel (i, j) it depends on
 * `condition`: no pixel;
 * `rows`: pixels of the rows above i;
 * `past`: also pixels left of j in row i and, at (i, j) itself, lower channels than its own;
 * `present`: also (i, j) itself, as the image does.
 */
export const sights = ['condition', 'rows', 'past', 'present'] as const;
export type Sight = (typeof sights)[number];

/** How much of its own row an output pixel sees through a filter (OwnRow of native/op_shapes.h). */
export const ownRows = ['none', 'left', 'centre', 'all'] as const;
export type OwnRow = (typeof ownRows)[number];

/** Returns what a tensor sees that is computed, pixel by pixel, from tensors that see these. */
export function joinedSight(...parts: readonly Sight[]): Sight {
  return sights[Math.max(...parts.map((part) => sights.indexOf(part)))]!;
}

/** Returns what the result of a filter sees, if the filter is applied to a tensor that sees `x`. */
export function sightThrough(label: string, x: Sight, ownRow: OwnRow): Sight {
  if (x === 'condition' || x === 'rows') return x;
  check(ownRow !== 'all', 'ERR_CAUSALITY', () => {
    return `${label}: reads pixels to the right of its own from a tensor that has seen them`;
  });
  if (ownRow === 'none') return 'rows';
  return ownRow === 'left' ? 'past' : x;
}
