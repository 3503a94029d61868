// Tests random networks: windows of any kind, additions, fan-out, one to four channels, images smaller than the windows.
import { describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { Conv2d } from '../../src/layers/conv2d.js';
import { SoftmaxHead } from '../../src/layers/softmax-head.js';
import { Declarations } from '../../src/ops/declarations.js';
import { pixelWindow, type Window } from '../../src/ops/window.js';
import { frontSteps } from '../../src/program/front.js';
import type { Recorder } from '../../src/program/recorder.js';
import { joinedSight, type OwnRow, type Sight, sightThrough } from '../../src/program/sight.js';
import type { Tensor } from '../../src/program/tensor.js';
import { buildSampler } from '../../src/sample/front-sampler.js';
import { passesOf } from '../../src/sample/passes.js';
import { findLeaks, withEachChanged } from '../helpers/causality.js';
import { expectSameBits } from '../helpers/close.js';
import { testGpu } from '../helpers/cuda.js';
import { drawWithLogits } from '../helpers/draw.mjs';
import { imagesOfLevels, testDevice } from '../helpers/models.js';
import { type TestRandom, withSeed } from '../helpers/random.js';
import { checkGradients, modelOf, type NetworkCase } from '../helpers/test-network.js';

/** A tensor of a drawn network: what it sees, its channels, and whether an op reads it. */
interface Drawn {
  readonly sees: Sight;
  readonly channels: number;
  used: boolean;
}

interface Layer {
  readonly conv: Conv2d;
  readonly x: number;
  readonly add: number | null;
  readonly relu: boolean;
}

/** Draws a window that may be applied to what sees this much. */
function drawWindow(random: TestRandom, sees: Sight): Window {
  if (random.uniform() < 0.2) return pixelWindow;
  const [rows, columns] = [random.int(1, 4), random.int(1, 4)];
  const [above, left] = [random.int(0, rows - 1), random.int(0, columns - 1)];
  const ownRows: OwnRow[] = ['left', 'centre'];
  if (above > 0) ownRows.push('none');
  if (sees === 'rows') ownRows.push('all');
  return { rows, columns, above, left, ownRow: random.pick(ownRows) };
}

/** Draws a network that is causal and uses all of its layers. */
function drawNetwork(random: TestRandom): NetworkCase {
  const [channels, levels, count] = [random.pick([1, 1, 2, 3, 4]), random.int(2, 4), random.int(1, 5)];
  const parameters = new Declarations();
  const tensors: Drawn[] = [{ sees: 'present', channels, used: false }];
  const layers: Layer[] = [];
  const hidden = random.int(channels, 6);
  /** Appends a layer that reads tensor `x`. */
  const append = (x: number, window: Window) => {
    const k = random.uniform() < 0.8 ? hidden : random.int(channels, 9);
    const own = sightThrough('', tensors[x]!.sees, window.ownRow);
    const terms = tensors.flatMap((tensor, index) => (index > 0 && tensor.channels === k ? [index] : []));
    const add = terms.length > 0 && random.uniform() < 0.5 ? random.pick(terms) : null;
    const sees = add === null ? own : joinedSight(own, tensors[add]!.sees);
    // Only a result that sees no more than rows may mix channels.
    const channelGroups = sees === 'rows' ? random.int(1, Math.min(tensors[x]!.channels, k)) : channels;
    // Without a bias a ReLU may lie exactly at its kink, where finite differences are no gradient.
    const bias = random.uniform() < 0.8;
    const options = { channelGroups, bias };
    const conv = new Conv2d(parameters, `l${layers.length}`, tensors[x]!.channels, k, window, options);
    layers.push({ conv, x, add, relu: bias && random.uniform() < 0.6 });
    for (const index of [x, add]) if (index !== null) tensors[index]!.used = true;
    tensors.push({ sees, channels: k, used: false });
  };
  for (let i = 0; i < count; i += 1) {
    const x = random.uniform() < 0.7 ? tensors.length - 1 : random.int(0, tensors.length - 1);
    append(x, drawWindow(random, tensors[x]!.sees));
  }
  // Whatever nothing reads yet is joined, so that the head depends on all layers and on no present pixel.
  const c = random.int(channels, 9);
  let [sum, sees]: [number | null, Sight] = [null, 'rows'];
  for (const [x, tensor] of tensors.slice().entries()) {
    if (x === 0 || tensor.used) continue;
    const ownRow = tensor.sees === 'present' ? 'left' : 'centre';
    const window = { rows: 2, columns: 3, above: 1, left: 1, ownRow } as const;
    const conv = new Conv2d(parameters, `join${x}`, tensor.channels, c, window, { channelGroups: channels });
    layers.push({ conv, x, add: sum, relu: false });
    sees = joinedSight(sees, sightThrough('', tensor.sees, ownRow));
    sum = tensors.push({ sees, channels: c, used: true }) - 1;
  }
  const head = new SoftmaxHead(parameters, 'head', c, channels, levels);
  const features = (r: Recorder, image: Tensor) => {
    const results = [image];
    for (const { conv, x, add, relu } of layers)
      results.push(conv.forward(r, results[x]!, { add: add === null ? null : results[add]!, relu }));
    return results.at(-1)!;
  };
  const config = { channels, hiddenChannels: c, layers: 2, levels, kernelSize: 3 };
  return { name: 'random', config, network: { parameters, head, features } };
}

/** Fails unless no logit sees its own pixel or a later one, and the sampler has the bits of the full pass. */
async function checkModel(device: Device, tested: NetworkCase, random: TestRandom): Promise<void> {
  const { channels, levels } = tested.config;
  const [count, height, width] = [random.int(1, 3), random.int(1, 5), random.int(1, 5)];
  const model = await modelOf(device, tested);
  const data = withEachChanged(random.bytes(height * width * channels), (value) => value ^ 128);
  const batch = { data, count: 1 + height * width * channels, height, width, channels };
  const { leaks } = findLeaks({ h: height, w: width, channels }, (await model.logits(batch)).data, levels);
  expect(leaks).toEqual([]);
  const library = { buildSampler, passesOf, frontSteps };
  const { level, logits } = await drawWithLogits(library, model, { count, height, width });
  const full = await model.logits(imagesOfLevels(model, level, count, height, width));
  expectSameBits(`logits of ${count} images of ${height}x${width}`, logits, full.data);
  model.dispose();
}

const devices = { cpu: testDevice(), gpu: testGpu() };
const networks = (
  count: number,
  seed: number,
  body: (tested: NetworkCase, random: TestRandom) => Promise<void>,
) =>
  withSeed(seed, async (random, at) => {
    for (let index = 0; index < count; index += 1) {
      const tested = drawNetwork(random);
      at(`network ${index}`);
      await body(tested, random);
    }
  });

describe('random networks', () => {
  it('never see the present or the future, and draw with the bits of the full pass, 60 networks', () =>
    networks(60, 1, (tested, random) => checkModel(devices.cpu(), tested, random)));
  it('the same on a GPU, 20 networks', () =>
    networks(20, 2, (tested, random) => checkModel(devices.gpu(), tested, random)));
  it('have the gradients of finite differences, 12 networks', () =>
    networks(12, 3, (tested) => checkGradients(devices.cpu(), tested, 1e-4)));
});
