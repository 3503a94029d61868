// Finds how far ahead of the drawn pixels ops over the rows above must run, so that several rows can be drawn side by side.
//
// An op that reads r columns to the right of a pixel needs its operand that far ahead. What reads drawn pixels in this
// way needs them drawn in the rows above, so that every row must be that far ahead of the next: this is the slope of
// the wavefront. A filter reads as far in the rows above as in its own row, for which this is more than enough.

import { operandsOf } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import type { Leads } from '../program/sampler-pass.js';
import type { Tensor } from '../program/tensor.js';

/** How rows are drawn side by side. */
export interface SideBySide {
  readonly leads: Leads;
  /** The least slope of a wavefront with these leads. */
  readonly slope: number;
}

/** Returns the leads of the results of a network that was recorded for whole images. */
export function sideBySide(r: Recorder): SideBySide {
  const leads = new Map<Tensor, number>();
  let slope = 1;
  // From the last op to the first, because what an op needs follows from those that read its result.
  for (const op of [...r.ops].reverse()) {
    const { result } = op;
    if (result === undefined) continue;
    for (const operand of operandsOf(op)) {
      const needed = (leads.get(result) ?? 0) + r.reachToTheRight(result, operand);
      const sees = r.sights.of(operand);
      if (sees === 'rows' && operand !== result)
        leads.set(operand, Math.max(leads.get(operand) ?? 0, needed));
      if (sees === 'past' || sees === 'present') slope = Math.max(slope, needed + 1);
    }
  }
  return { leads: new Map(Array.from(leads, ([{ name }, lead]) => [name, lead])), slope };
}
