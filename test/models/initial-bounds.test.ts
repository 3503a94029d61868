// Tests the bounds of initial weights: sqrt(scale / live inputs), where the scale follows from what is next, and no biases.
import { expect, it } from 'vitest';
import { GatedNetwork } from '../../src/models/gated.js';
import { PlainNetwork } from '../../src/models/plain.js';

it('follow from the live taps of each plain layer', () => {
  const network = new PlainNetwork({ channels: 1, hiddenChannels: 5, layers: 3, levels: 4, kernelSize: 3 });
  const bounds = Array.from(network.parameters, ({ name, bound }) => [name, bound]);
  expect(bounds).toEqual([
    ['net.0.weight', Math.sqrt(6 / 4)],
    ['net.0.bias', 0],
    ['net.2.weight', Math.sqrt(6 / (5 * 5))],
    ['net.2.bias', 0],
    ['net.4.weight', Math.sqrt(1 / 5)],
    ['net.4.bias', 0],
  ]);
});

it('of a gated layer keep the variance through gates, sums and ReLUs', async () => {
  const sizes = { channels: 1, hiddenChannels: 5, layers: 2, levels: 4, kernelSize: 3 };
  const network = new GatedNetwork({ architecture: 'gated', ...sizes, firstKernelSize: 5, headChannels: 3 });
  const weights = [...network.parameters].filter(({ name }) => name.endsWith('.weight'));
  expect(Object.fromEntries(weights.map(({ name, bound }) => [name, bound]))).toEqual({
    'layers.0.vertical.weight': Math.sqrt(12 / 10),
    'layers.0.horizontal.weight': Math.sqrt(12 / 2),
    'layers.0.link.weight': Math.sqrt(3 / 10),
    'layers.0.residual.weight': Math.sqrt(3 / 5),
    'layers.0.skip.weight': Math.sqrt(3 / 5),
    'layers.1.vertical.weight': Math.sqrt(12 / (5 * 6)),
    'layers.1.horizontal.weight': Math.sqrt(12 / (5 * 2)),
    'layers.1.link.weight': Math.sqrt(3 / 10),
    'layers.1.skip.weight': Math.sqrt(3 / 5),
    'head.0.weight': Math.sqrt(6 / 5),
    'head.1.weight': Math.sqrt(1 / 3),
  });
});
