// Tests the bounds of initial weights: sqrt(6 / live inputs) before a ReLU, sqrt(1 / live inputs) of the head, and no biases.
import { expect, it } from 'vitest';
import { PlainNetwork } from '../../src/models/plain.js';

it('follow from the live taps of each layer', () => {
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
