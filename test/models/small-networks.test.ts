// Tests small networks for what no other network does: gradients that meet in additions, features of the present pixel,
// and mistakes for which a network is refused.
import { describe, expect, it } from 'vitest';
import { Conv2d } from '../../src/layers/conv2d.js';
import { SoftmaxHead } from '../../src/layers/softmax-head.js';
import type { Network } from '../../src/models/network.js';
import { accumulate } from '../../src/ops/accumulate.js';
import { Declarations } from '../../src/ops/declarations.js';
import { pixelWindow, rowsAboveWindow, squareWindow, type Window } from '../../src/ops/window.js';
import type { Recorder } from '../../src/program/recorder.js';
import type { Tensor } from '../../src/program/tensor.js';
import { testGpu } from '../helpers/cuda.js';
import { measureGradients } from '../helpers/gradients.js';
import { randomImages, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { checkSampler, modelOf, testNetwork } from '../helpers/test-network.js';

const config = { channels: 3, hiddenChannels: 7, layers: 2, levels: 3, kernelSize: 3 };

/** A network of layers by name, whose features a test writes as a function of them. */
class SmallNetwork implements Network {
  readonly parameters = new Declarations();
  readonly head: SoftmaxHead;
  readonly #layers: Readonly<Record<string, Conv2d>>;
  readonly #connect: (r: Recorder, layers: Readonly<Record<string, Conv2d>>, image: Tensor) => Tensor;

  constructor(
    layers: Readonly<Record<string, readonly [inputs: number, window: Window]>>,
    connect: (r: Recorder, layers: Readonly<Record<string, Conv2d>>, image: Tensor) => Tensor,
  ) {
    const { channels, hiddenChannels: p, levels } = config;
    this.#layers = Object.fromEntries(
      Object.entries(layers).map(([name, [inputs, window]]) => {
        return [name, new Conv2d(this.parameters, name, inputs, p, window, { channelGroups: channels })];
      }),
    );
    this.#connect = connect;
    this.head = new SoftmaxHead(this.parameters, 'head', p, channels, levels);
  }

  features(r: Recorder, image: Tensor): Tensor {
    return this.#connect(r, this.#layers, image);
  }
}

const devices = { cpu: testDevice(), gpu: testGpu() };

const [first, rest] = [squareWindow(3, 'A'), squareWindow(3, 'B')];
const p = config.hiddenChannels;

// Only an addition reads `b`, so no op masks its gradient. `sum` has two gradients, one of which it shares with another
// tensor.
const additions = new SmallNetwork(
  { a: [3, first], b: [3, first], joined: [p, rest], last: [p, pixelWindow] },
  (r, { a, b, joined, last }, image) => {
    const sum = joined!.forward(r, a!.forward(r, image, { relu: true }), {
      add: b!.forward(r, image, { relu: true }),
      relu: true,
    });
    return last!.forward(r, sum, { add: sum, relu: true });
  },
);
testNetwork({ name: 'additions', config, network: additions }, devices);

// The first layer sees the pixel itself, and the second one reads what is left of it and lower channels.
const present = new SmallNetwork(
  { colours: [3, pixelWindow], past: [p, first], next: [p, rest] },
  (r, { colours, past, next }, image) => {
    const mixed = colours!.forward(r, image, { relu: true });
    return next!.forward(r, past!.forward(r, mixed, { relu: true }), { relu: true });
  },
);
testNetwork({ name: 'features of the present pixel', config, network: present }, devices);

describe('features that see only the rows above', () => {
  // They are computed when a row begins, and their memory must last until its end, although only the head reads them. The
  // activations of `wide` are needed only after a draw, so a memory plan would give them the same memory.
  const grey = { ...config, channels: 1 };
  const parameters = new Declarations();
  const wide = new Conv2d(parameters, 'wide', 1, 40, pixelWindow);
  const narrow = new Conv2d(parameters, 'narrow', 40, p, pixelWindow);
  const above = new Conv2d(parameters, 'above', p, p, rowsAboveWindow(3, 'A'));
  const features = (r: Recorder, image: Tensor) =>
    above.forward(r, narrow.forward(r, wide.forward(r, image)));
  const head = new SoftmaxHead(parameters, 'head', p, 1, grey.levels);
  const tested = { name: 'rows', config: grey, network: { parameters, head, features } };
  it('are drawn from with the bits of the full pass', () => checkSampler(devices.cpu(), tested));
  it('are drawn from with the bits of the full pass on a GPU', () => checkSampler(devices.gpu(), tested));
  it('are computed in all of a wide row', async () => {
    for (const device of Object.values(devices))
      await checkSampler(device(), tested, { height: 3, width: 40 });
  });
});

it('activations that are read only from the pixel above keep their memory', async () => {
  // The activations of `wide` are needed when those of `past` no longer are, unless the row below is considered.
  const grey = { ...config, channels: 1 };
  const parameters = new Declarations();
  const past = new Conv2d(parameters, 'past', 1, p, first);
  const column = { rows: 2, columns: 1, above: 1, left: 0, ownRow: 'centre' } as const;
  const above = new Conv2d(parameters, 'above', p, p, column);
  const wide = new Conv2d(parameters, 'wide', p, 40, pixelWindow);
  const narrow = new Conv2d(parameters, 'narrow', 40, p, pixelWindow);
  const features = (r: Recorder, image: Tensor) =>
    [past, above, wide, narrow].reduce((x, layer) => layer.forward(r, x), image);
  const head = new SoftmaxHead(parameters, 'head', p, 1, grey.levels);
  await checkSampler(devices.cpu(), {
    name: 'column',
    config: grey,
    network: { parameters, head, features },
  });
});

describe('a network is refused that', () => {
  const images = randomImages(new TestRandom(1), 1, 4, 4, 3);
  const refused = async (network: Network, message: RegExp, code = 'ERR_CAUSALITY') => {
    const model = await modelOf(devices.cpu(), { name: 'refused', config, network });
    const error = { code, message: expect.stringMatching(message) };
    await expect(model.logits(images)).rejects.toMatchObject(error);
    model.dispose();
  };

  it('predicts pixels that it has seen', async () => {
    const network = new SmallNetwork({ a: [3, rest] }, (r, { a }, image) => a!.forward(r, image));
    await refused(network, /^head: predicts pixels from features that have seen them/);
  });

  it('predicts from what an op made of the image that does not say which pixels it reads', async () => {
    class Copied extends SmallNetwork {
      override features(r: Recorder, image: Tensor): Tensor {
        return accumulate(r, 'copy', super.features(r, image), null, null);
      }
    }
    const network = new Copied({ a: [3, first] }, (r, { a }, image) => a!.forward(r, image));
    await refused(network, /^head: predicts pixels from features that have seen them/);
  });

  it('reads to the right of a pixel that it has seen', async () => {
    const window = { rows: 2, columns: 3, above: 1, left: 1, ownRow: 'all' } as const;
    const network = new SmallNetwork({ a: [3, first], b: [p, window] }, (r, { a, b }, image) =>
      b!.forward(r, a!.forward(r, image)),
    );
    await refused(network, /^b forward: reads pixels to the right/);
  });

  it('mixes channels that are drawn one after the other', async () => {
    class Mixed extends SmallNetwork {
      override features(r: Recorder, image: Tensor): Tensor {
        return new Conv2d(new Declarations(), 'a', 3, p, first).forward(r, image);
      }
    }
    await refused(
      new Mixed({ a: [3, first] }, (_, __, image) => image),
      /^a forward: has 1 channel groups over an image of 3/,
    );
  });

  it('adds what sees single channels to the result of a filter that does not separate them', async () => {
    for (const channelGroups of [1, 2, 4]) {
      const parameters = new Declarations();
      const rows = new Conv2d(parameters, 'rows', 3, p, rowsAboveWindow(3, 'A'));
      const past = new Conv2d(parameters, 'past', 3, p, first, { channelGroups: 3 });
      const link = new Conv2d(parameters, 'link', p, p, pixelWindow, { channelGroups });
      const features = (r: Recorder, image: Tensor) =>
        link.forward(r, rows.forward(r, image), { add: past.forward(r, image) });
      const head = new SoftmaxHead(parameters, 'head', p, 3, config.levels);
      const message = new RegExp(`^link forward: has ${channelGroups} channel groups over an image of 3`);
      await refused({ parameters, head, features }, message);
    }
  });

  it('uses a parameter twice, when it is trained, and a layer twice, when it draws', async () => {
    const network = new SmallNetwork({ a: [3, first], b: [p, rest] }, (r, { a, b }, image) =>
      b!.forward(r, b!.forward(r, a!.forward(r, image))),
    );
    const model = await modelOf(devices.cpu(), { name: 'twice', config, network });
    await expect(measureGradients(model, images, 'direct')).rejects.toMatchObject({
      code: 'ERR_PROGRAM',
      message: "parameter 'b.weight' is used twice: gradients of shared parameters are not supported",
    });
    await expect(model.sample({ count: 1, height: 4, width: 4 })).rejects.toMatchObject({
      code: 'ERR_PROGRAM',
      message: "'b forward y' is computed twice: a layer may be used once",
    });
    model.dispose();
  });

  it('does not use a parameter, when it is trained', async () => {
    const network = new SmallNetwork({ a: [3, first], b: [p, rest] }, (r, { a }, image) =>
      a!.forward(r, image),
    );
    const model = await modelOf(devices.cpu(), { name: 'unused', config, network });
    await expect(measureGradients(model, images, 'direct')).rejects.toMatchObject({
      code: 'ERR_PROGRAM',
      message: "the loss does not depend on the parameters 'b.weight', 'b.bias'",
    });
    model.dispose();
  });
});
