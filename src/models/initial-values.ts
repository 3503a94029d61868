// Draws the initial values of a network's parameters from a seed.
import type { LayerConfig } from '../layers/masked-conv2d.js';
import { tapsBeforeCentre } from '../ops/masked-conv2d.js';
import { philox, seedKey } from '../random/philox.js';
import { applyMask } from './check-parameters.js';
import { type NamedArrays, weightShape } from './parameters.js';

/** The event loop gets a turn after this many calls of philox, which take about 2 ms. */
const callsPerTurn = 2 ** 14;

/**
 * Draws initial values, which follow from the seed alone. Weights are uniform in ±sqrt(6 / live inputs) for layers that a
 * ReLU follows (He et al. 2015) and in ±sqrt(1 / live inputs) for the last one; biases are 0.
 */
export async function initialParameters(
  configs: readonly LayerConfig[],
  seed: number | bigint,
): Promise<NamedArrays> {
  const key = seedKey(seed);
  const words = new Uint32Array(4);
  const values: NamedArrays = new Map();
  for (const [index, config] of configs.entries()) {
    const { c, k, kernelSize } = config;
    const liveTaps = tapsBeforeCentre(kernelSize) + (config.maskType === 'B' ? 1 : 0);
    const gain = index === configs.length - 1 ? 1 : 6;
    const bound = Math.sqrt(gain / Math.max(liveTaps * c, 1));
    const weight = new Float32Array(k * c * kernelSize * kernelSize);
    // The 2 is for initial values: each use of a seed has another last word, so that no two share random numbers.
    const counter = [0, index, 0, 2];
    for (let i = 0; i < weight.length; i += 4) {
      counter[0] = i / 4;
      philox(counter, key, words);
      for (let lane = 0; lane < 4 && i + lane < weight.length; lane += 1) {
        weight[i + lane] = ((words[lane]! >>> 8) * 2 ** -23 - 1) * bound;
      }
      if (counter[0] % callsPerTurn === callsPerTurn - 1) await new Promise(setImmediate);
    }
    applyMask(weight, config);
    values.set(`${config.name}.weight`, { shape: weightShape(config), data: weight });
    values.set(`${config.name}.bias`, { shape: [k], data: new Float32Array(k) });
  }
  return values;
}
