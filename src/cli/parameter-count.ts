// Counts the parameters of a network: all of them, and those that the masks leave live.
import type { LayerConfig } from '../layers/masked-conv2d.js';
import { isLiveTap, tapsBeforeCentre } from '../ops/masked-conv2d.js';

export interface ParameterCount {
  readonly total: number;
  readonly live: number;
}

export function countParameters(layers: readonly LayerConfig[]): ParameterCount {
  const counts = layers.map(countLayer);
  const sum = (key: keyof ParameterCount) => counts.reduce((total, count) => total + count[key], 0);
  return { total: sum('total'), live: sum('live') };
}

/** Counts the weights and biases of one layer. */
export function countLayer(layer: LayerConfig): ParameterCount {
  const { c, k, kernelSize } = layer;
  const centre = (kernelSize - 1) / 2;
  // The taps before the centre are live for all channels; for the centre it depends on the channels.
  let live = k * c * tapsBeforeCentre(kernelSize);
  for (let output = 0; output < k; output += 1) {
    for (let input = 0; input < c; input += 1) {
      if (isLiveTap(layer, output, input, centre, centre)) live += 1;
    }
  }
  return { total: k * c * kernelSize * kernelSize + k, live: live + k };
}
