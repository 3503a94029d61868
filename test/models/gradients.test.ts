// Tests gradients of whole models of random shapes against the float64 network.
import { describe, expect, it } from 'vitest';
import { levelOfByte } from '../../src/data/levels.js';
import { expectClose } from '../helpers/close.js';
import { measureGradients } from '../helpers/gradients.js';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { networkGradients } from '../oracle/network.js';

const device = testDevice();

// These are plain networks, which the float64 network has too. Others are tested by testNetwork.
const networks = [
  { channels: 1, hiddenChannels: 10, layers: 4, levels: 16, kernelSize: 5 },
  { channels: 1, hiddenChannels: 5, layers: 2, levels: 2, kernelSize: 7 },
  { channels: 3, hiddenChannels: 9, layers: 5, levels: 8, kernelSize: 3 },
];

describe.each(networks)('%o', (options) => {
  it.each(['direct', 'winograd'] as const)('with %s', async (algorithm) => {
    const model = await randomModel(device(), options, 5);
    const images = randomImages(new TestRandom(7), 3, 6, 5, options.channels);
    const { nats, gradients } = await measureGradients(model, images, algorithm);

    const parameters = new Map([...(await model.parameters())].map(([name, { data }]) => [name, data]));
    const levels = images.data.map((byte) => levelOfByte(byte, options.levels));
    const expected = networkGradients(options, parameters, { n: 3, h: 6, w: 5 }, levels);
    // On a ReLU's kink the gradients of both sides would be right; these seeds have no value on one. Nor do they have a
    // gradient whose terms nearly cancel: with 2 levels the head's bias may be 0.001 of terms of 0.5.
    expect(expected.nearestKink, 'distance to the nearest kink').toBeGreaterThan(1e-5);
    expectClose('nats', nats, expected.nats);
    expect([...gradients.keys()].toSorted()).toEqual([...expected.gradients.keys()].toSorted());
    for (const [name, { data }] of gradients) expectClose(name, data, expected.gradients.get(name)!);
    await model.dispose();
  });
});
