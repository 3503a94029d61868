// Tests how often a training step packs its weights: once on a GPU, where one packing serves both directions, in
// one list for each 32 filters, and with the bits of a step that packs them one by one for each direction.
import { describe, expect, it, vi } from 'vitest';
import { type Device, openDevice } from '../../src/device/device.js';
import { precisions } from '../../src/device/precision.js';
import { filterFields, maskedConv2dPack, packedBytes } from '../../src/ops/masked-conv2d.js';
import { squareWindow } from '../../src/ops/window.js';
import { Program } from '../../src/program/program.js';
import { operandsOf, type RecordedOp } from '../../src/program/recorded-op.js';
import { Recorder } from '../../src/program/recorder.js';
import type { Tensor } from '../../src/program/tensor.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { openGpu } from '../helpers/cuda.js';
import { randomModel } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const hyper = {
  learningRate: 1e-2,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
  maxGradientNorm: 1,
  emaDecay: 0.99,
};
const [count, height, width] = [2, 4, 5] as const;
const small = { channels: 1, hiddenChannels: 8, layers: 7, levels: 4, kernelSize: 3 };
const grouped = { channels: 3, hiddenChannels: 9, layers: 3, levels: 3, kernelSize: 5 };
const deep = { channels: 1, hiddenChannels: 4, layers: 40, levels: 2, kernelSize: 3 };

/** What a device that is asked whether it packs alike answers from now on. */
function answer(device: Device, packsOnce: boolean): Device {
  return Object.defineProperty(device, 'packsOnce', { value: packsOnce });
}

/** The ops of a training step, and the weights and gradients after three of them. The device is disposed. */
async function train(device: Device, network: typeof small, algorithm: 'auto' | 'direct' = 'auto') {
  const emit = vi.spyOn(Recorder.prototype, 'emit');
  try {
    const model = await randomModel(device, network, 3);
    const step = await TrainingStep.create(model.internals(), { height, width, dynamic: false, algorithm });
    const bytes = new TestRandom(4).bytes(count * height * width * network.channels);
    const batch = { bytes, count };
    for (let i = 0; i < 3; i += 1) await step.run(batch, hyper);
    const { parameters } = await step.snapshot();
    const arrays = [...parameters.values(), ...(await step.gradients()).values()];
    return {
      ops: emit.mock.calls.map(([op]) => op),
      bits: Buffer.concat(arrays.map(({ data }) => Buffer.from(data.buffer))),
    };
  } finally {
    emit.mockRestore();
    await device.dispose();
  }
}

/** How many filters each pack op of a step has. */
const filtersOf = (ops: readonly RecordedOp[]) =>
  ops.filter(({ op }) => op === 'maskedConv2dPack').map(({ fields }) => fields.count);

describe('a training step on a GPU', () => {
  it('packs all layers once, in one op', async () => {
    const { ops } = await train(await openGpu(), small);
    expect(filtersOf(ops)).toEqual([7]);
    const [pack] = ops.filter(({ op }) => op === 'maskedConv2dPack');
    expect(pack!.label).toBe('pack');
    expect(new Set(operandsOf(pack!)).size, 'weights and packed weights').toBe(14);
    const others = ops.filter((op) => op !== pack);
    for (const [i, { packed }] of (pack!.fields.filter as readonly { packed: Tensor }[]).entries()) {
      const readers = others.filter((op) => operandsOf(op).includes(packed)).map(({ op }) => op);
      const both = ['maskedConv2d', 'maskedConv2dBackwardInput'];
      expect(readers, `filter ${i}`).toEqual(
        i === 0 ? both.slice(0, 1) : i === 6 ? ['softmaxCrossEntropy'] : both,
      );
    }
  });

  it.each(precisions)('has the bits of one that packs for each direction: %s', async (precision) => {
    for (const network of [small, grouped]) {
      const once = await train(await openGpu({ precision }), network);
      const twice = await train(answer(await openGpu({ precision }), false), network);
      expect(filtersOf(twice.ops)).toEqual(Array(2 * network.layers - 1).fill(1));
      expect(once.bits.equals(twice.bits)).toBe(true);
    }
  });

  it('packs 32 filters in an op, and the others in the next', async () => {
    const once = await train(await openGpu(), deep);
    expect(filtersOf(once.ops)).toEqual([32, 8]);
    const twice = await train(answer(await openGpu(), false), deep);
    expect(once.bits.equals(twice.bits)).toBe(true);
  });
});

describe('a training step on the CPU', () => {
  const cpu = () => openDevice({ backend: 'cpu', threads: 2 });

  it.each(['auto', 'direct'] as const)('packs for each direction, one by one: %s', async (algorithm) => {
    const right = await train(await cpu(), small, algorithm);
    expect(filtersOf(right.ops)).toEqual(Array(13).fill(1));
    // Where it is told that one packing serves both directions, its gradients are wrong, which must show here.
    const wrong = await train(answer(await cpu(), true), small, algorithm).catch(() => undefined);
    expect(wrong?.bits.equals(right.bits) ?? false).toBe(false);
  });
});

describe('what a device says of itself', () => {
  it('does not tell users how it packs', async () => {
    await using gpu = await openGpu();
    expect([gpu.packsOnce, 'packsOnce' in gpu.info]).toEqual([true, false]);
    await using cpu = await openDevice({ backend: 'cpu' });
    expect([cpu.packsOnce, 'packsOnce' in cpu.info]).toEqual([false, false]);
  });
});

describe('a list of filters of two precisions', () => {
  it('is refused', async () => {
    await using gpu = await openGpu();
    const filter = { c: 2, k: 3, window: squareWindow(3, 'B'), channelGroups: 1 };
    const r = new Recorder(gpu);
    const weight = r.input('weight', [3, 2, 3, 3]);
    const packed = r.tensor('packed', [packedBytes(r, filter, 'direct', 'forward')], 'byte');
    const fields = { ...filterFields(r, filter, 'direct'), direction: 0, weight, packed };
    maskedConv2dPack(r, 'pack', [fields, { ...fields, precision: 2 }]);
    await expect(Program.compile(r)).rejects.toMatchObject({
      code: 'ERR_PROGRAM',
      message: 'op 0 (maskedConv2dPack), filter 1: its precision must be that of filter 0',
    });
  });
});
