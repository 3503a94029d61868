// Draws the initial values of a network's parameters from a seed.
import type { Declaration } from '../ops/declarations.js';
import { applyMask } from '../ops/window.js';
import { elements } from '../program/tensor.js';
import { philox, seedKey } from '../random/philox.js';
import type { NamedArrays } from './parameters.js';

/** The event loop gets a turn after this many calls of philox, which take about 2 ms. */
const callsPerTurn = 2 ** 14;

/** Draws initial values, uniform in ±bound of each declaration. They follow from the seed alone. */
export async function initialParameters(
  declarations: Iterable<Declaration>,
  seed: number | bigint,
): Promise<NamedArrays> {
  const key = seedKey(seed);
  const words = new Uint32Array(4);
  const values: NamedArrays = new Map();
  // The 2 is for initial values: each use of a seed has another last word, so that no two share random numbers.
  const counter = [0, 0, 0, 2];
  for (const { name, shape, filter, bound } of declarations) {
    const data = new Float32Array(elements(shape));
    values.set(name, { shape, data });
    if (bound === 0) continue;
    for (let i = 0; i < data.length; i += 4) {
      counter[0] = i / 4;
      philox(counter, key, words);
      for (let lane = 0; lane < 4 && i + lane < data.length; lane += 1) {
        data[i + lane] = ((words[lane]! >>> 8) * 2 ** -23 - 1) * bound;
      }
      if (counter[0] % callsPerTurn === callsPerTurn - 1) await new Promise(setImmediate);
    }
    if (filter !== null) applyMask(data, filter);
    // The next parameter that is drawn has its own random numbers.
    counter[1]! += 1;
  }
  return values;
}
