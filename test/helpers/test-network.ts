// Tests an architecture by its model function alone: causality, gradients, training, and the bits of its sampler.
import { describe, expect, it } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import type { Device } from '../../src/device/device.js';
import { conditionInput } from '../../src/models/condition.js';
import type { PixelCnnConfig } from '../../src/models/config.js';
import { givenCondition } from '../../src/models/given-condition.js';
import { initialParameters } from '../../src/models/initial-values.js';
import { Model } from '../../src/models/model.js';
import { type Network, recordNats } from '../../src/models/network.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { frontSteps } from '../../src/program/front.js';
import { Recorder } from '../../src/program/recorder.js';
import { buildSampler } from '../../src/sample/front-sampler.js';
import { passesOf } from '../../src/sample/passes.js';
import { train } from '../../src/train/trainer.js';
import { fourPoint } from '../oracle/masked-conv2d.js';
import { expectClose, expectSameBits, firstBitDifference } from './close.js';
import { drawWithLogits } from './draw.mjs';
import { type Memory, runInFloat64 } from './float64-ops.js';
import { measureGradients } from './gradients.js';
import { randomConditions, randomImages } from './models.js';
import { withoutRounding } from './op-checks.js';
import { TestRandom } from './random.js';

export interface NetworkCase {
  readonly name: string;
  readonly config: PixelCnnConfig;
  readonly network: Network;
}

const [height, width] = [5, 6] as const;

/** Random images for a model of this configuration, with random conditions if it has one. */
function randomImagesOf(random: TestRandom, count: number, config: PixelCnnConfig): ImageBatch {
  const images = randomImages(random, count, height, width, config.channels);
  return { ...images, ...randomConditions(random, config, images) };
}

/** A model of the network with random weights and biases. */
export async function modelOf(device: Device, { config, network }: NetworkCase): Promise<PixelCNN> {
  const random = new TestRandom(7);
  const parameters = await initialParameters(network.parameters, 3);
  for (const { name, bound } of network.parameters) {
    const { data } = parameters.get(name)!;
    if (bound === 0) for (let i = 0; i < data.length; i += 1) data[i] = random.normal() * 0.2;
  }
  const model = await Model.create(device, config, { parameters, holds: ['raw'] }, network);
  return new (PixelCNN as unknown as new (model: Model) => PixelCNN)(model);
}

/** Fails unless a changed pixel leaves the logits of everything before it alone, bit for bit, and changes some after it. */
export async function checkCausality(device: Device, tested: NetworkCase): Promise<void> {
  const { channels, levels } = tested.config;
  const random = new TestRandom(11);
  const model = await modelOf(device, tested);
  const images = randomImagesOf(random, 1, tested.config);
  const before = await model.logits(images);
  let changedLater = 0;
  for (let value = 0; value < height * width * channels; value += 1) {
    const data = images.data.slice();
    data[value] = data[value]! ^ 128;
    const { data: after } = await model.logits({ ...images, data });
    const first = firstBitDifference(after, before.data);
    if (first < 0) continue;
    changedLater += 1;
    expect(Math.floor(first / levels), `logits that see value ${value}`).toBeGreaterThan(value);
  }
  // All values but the last few, which nothing or little comes after, are seen by something.
  expect(changedLater).toBeGreaterThan(height * width * channels * 0.6);
  model.dispose();
}

/** Fails unless the gradients that the tape records are those of finite differences of the network in float64. */
export async function checkGradients(device: Device, tested: NetworkCase, limit: number): Promise<void> {
  const { channels } = tested.config;
  const random = new TestRandom(5);
  const model = await modelOf(device, tested);
  const images = randomImagesOf(random, 2, tested.config);
  const { gradients, nats } = await measureGradients(model, images, 'direct');

  const { raw, network, config } = model.internals();
  const r = new Recorder(device, { precision: 'f32', parameters: raw.byName });
  const bytes = r.input('bytes', [2, height, width, channels], 'uint8');
  const condition = conditionInput(r, config, { n: 2, h: height, w: width });
  const loss = recordNats(r, { network, config }, { bytes, condition });
  const memory: Memory = new Map([[bytes, Float64Array.from(images.data)]]);
  if (condition !== null) {
    const { values } = givenCondition('test', model.internals(), {}, images, images)!;
    memory.set(condition, Float64Array.from(values));
  }
  for (const [name, { data }] of await model.parameters())
    memory.set(raw.byName.get(name)!, Float64Array.from(data));
  const total = () => {
    runInFloat64(r.ops, memory);
    return memory.get(loss)!.reduce((sum, value) => sum + value, 0) / images.data.length;
  };
  total();
  expectClose('nats', nats, memory.get(loss)!, limit);
  for (const { name, filter } of network.parameters) {
    const values = memory.get(raw.byName.get(name)!)!;
    const measured = gradients.get(name)!.data;
    // Weights under a mask have a gradient of exactly 0, which the differences of live ones would hide.
    const live = Array.from(values.keys()).filter((i) => filter === null || values[i] !== 0);
    for (const [i, value] of measured.entries())
      if (!live.includes(i)) expect(value, `${name}[${i}] under the mask`).toBe(0);
    // A mask may leave nothing live.
    const some = new Set(live.length === 0 ? [] : Array.from({ length: 12 }, () => random.pick(live)));
    const expected = Array.from(some, (i) => withoutRounding(fourPoint(values, i, 1e-6, total)));
    expectClose(
      `gradient of ${name}`,
      Array.from(some, (i) => measured[i]!),
      expected,
      limit,
    );
  }
  model.dispose();
}

/** Fails unless the sampler draws from the logits of a full pass over what it drew, bit for bit. */
export async function checkSampler(
  device: Device,
  tested: NetworkCase,
  size: { readonly height: number; readonly width: number } = { height, width },
): Promise<void> {
  const model = await modelOf(device, tested);
  const { channels, levels } = tested.config;
  const library = { buildSampler, passesOf, frontSteps };
  const images = { count: 3, ...size };
  const conditions = randomConditions(new TestRandom(4), tested.config, images);
  const given = givenCondition('test', model.internals(), conditions, undefined, images);
  const { level, logits } = await drawWithLogits(library, model, images, {
    ...(given !== undefined && { condition: given.values }),
  });
  const data = level.map((value) => Math.ceil((value * 256) / levels));
  const full = await model.logits({ data, ...images, channels, ...conditions });
  expectSameBits('logits', logits, full.data);
  expect(new Set(level).size, 'levels that were drawn').toBe(levels);
  model.dispose();
}

/** Defines the tests of an architecture on a CPU and on a GPU, which is emulated where there is none. */
export function testNetwork(tested: NetworkCase, devices: { cpu: () => Device; gpu: () => Device }): void {
  describe(tested.name, () => {
    it('never sees the present or the future', () => checkCausality(devices.cpu(), tested));
    it('has the gradients of finite differences', () => checkGradients(devices.cpu(), tested, 1e-4));
    it('samples with the bits of the full pass', () => checkSampler(devices.cpu(), tested));
    it('has the same gradients on a GPU', () => checkGradients(devices.gpu(), tested, 1e-4));
    it('samples with the bits of the full pass on a GPU', () => checkSampler(devices.gpu(), tested));

    it('trains', async () => {
      const model = await modelOf(devices.cpu(), tested);
      // Two images, which it learns by heart.
      const images = randomImagesOf(new TestRandom(2), 2, tested.config);
      const before = (await model.logLikelihood(images)).nats;
      const options = { steps: 150, batchSize: 2, learningRate: 0.01, emaDecay: 0, validation: 0, seed: 1 };
      for await (const event of train(model, images, { ...options, protocol: 'levels' })) void event;
      const after = (await model.logLikelihood(images)).nats;
      expect(Math.max(...after)).toBeLessThan(0.5 * Math.min(...before));
      model.dispose();
    });
  });
}
