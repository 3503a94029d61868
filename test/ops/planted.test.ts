// Tests that the tables of ops and networks find planted faults: wrong gradient rules, regions, and masks that leak.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Conv2d } from '../../src/layers/conv2d.js';
import { SoftmaxHead } from '../../src/layers/softmax-head.js';
import { PlainNetwork } from '../../src/models/plain.js';
import { Declarations } from '../../src/ops/declarations.js';
import { squareWindow } from '../../src/ops/window.js';
import type { OpFields, RecordedOp } from '../../src/program/recorded-op.js';
import { Recorder } from '../../src/program/recorder.js';
import { Sights } from '../../src/program/sight.js';
import type { Tensor } from '../../src/program/tensor.js';
import { testDevice } from '../helpers/models.js';
import { checkGradients, checkReference, checkRegion } from '../helpers/op-checks.js';
import type { OpRow } from '../helpers/op-row.js';
import { TestRandom } from '../helpers/random.js';
import {
  checkCausality,
  checkGradients as checkNetworkGradients,
  checkSampler,
} from '../helpers/test-network.js';
import { addConditionRow, embeddingRow } from './rows/conditions.js';
import { gatedActivationRow } from './rows/gated-activation.js';
import { softmaxCrossEntropyRow } from './rows/head.js';
import { maskedConv2dRow } from './rows/masked-conv2d.js';

const device = testDevice();
afterEach(() => vi.restoreAllMocks());

/** Has every recorder record a changed op in place of each that `change` returns fields for. */
function plant(change: (op: RecordedOp) => OpFields | undefined): void {
  const emit = Recorder.prototype.emit;
  vi.spyOn(Recorder.prototype, 'emit').mockImplementation(function (this: Recorder, op) {
    emit.call(this, { ...op, fields: { ...op.fields, ...change(op) } });
  });
}

type Check = (row: OpRow, random: TestRandom, index: number) => Promise<void>;
const gradients: Check = (row, random, index) => checkGradients(device(), row.draw(random, index), random);
const reference: Check = (row, random, index) => checkReference(device(), row.draw(random, index), 'f32');
const region: Check = (row, random, index) => checkRegion(device(), row.drawRegion!(random, index), 'f32');

/** Whether one of the first cases of a row fails. Without a fault none does. */
async function fails(row: OpRow, check: Check): Promise<boolean> {
  const random = new TestRandom(9);
  for (let index = 0; index < 24; index += 1) {
    try {
      await check(row, random, index);
    } catch {
      return true;
    }
  }
  return false;
}

/** Changes the fields of every op of this name. */
const inOp = (name: string, fields: (f: OpFields) => OpFields) => (op: RecordedOp) =>
  op.op === name ? fields(op.fields) : undefined;
/** Changes the fields of every convolution in a region of the sampler. */
const inRegion = (fields: (f: OpFields) => OpFields) => (op: RecordedOp) =>
  op.op === 'maskedConv2d' && op.fields.pixels !== 0 ? fields(op.fields) : undefined;
const plus = (value: OpFields[string], by: number) => (value as number) + by;

/** Mask B in place of A, in the op that packs the weights as well. */
function leaking({ op, fields }: RecordedOp): OpFields | undefined {
  const leak = (f: OpFields) => (f.ownRow === 1 ? { ...f, ownRow: 2 } : f);
  if (op === 'maskedConv2d') return leak(fields);
  if (op === 'maskedConv2dPack') return { filter: (fields.filter as readonly OpFields[]).map(leak) };
  return undefined;
}

describe('the table finds', () => {
  it('nothing where nothing is planted', async () => {
    expect(await fails(maskedConv2dRow, gradients)).toBe(false);
    expect(await fails(maskedConv2dRow, reference)).toBe(false);
    expect(await fails(maskedConv2dRow, region)).toBe(false);
    expect(await fails(softmaxCrossEntropyRow, gradients)).toBe(false);
    for (const row of [gatedActivationRow, addConditionRow, embeddingRow])
      expect(await fails(row, gradients), row.op).toBe(false);
    for (const row of [gatedActivationRow, addConditionRow])
      expect(await fails(row, region), row.op).toBe(false);
  });

  it.each<[string, OpRow, (op: RecordedOp) => OpFields | undefined]>([
    [
      'the input gradient of a filter that is not masked',
      maskedConv2dRow,
      inOp('maskedConv2dBackwardInput', () => ({ ownRow: 3 })),
    ],
    [
      'a weight gradient of another mask',
      maskedConv2dRow,
      inOp('maskedConv2dBackwardWeight', (f) => ({ ownRow: f.ownRow === 2 ? 1 : 2 })),
    ],
    [
      'a gradient without its bias',
      maskedConv2dRow,
      inOp('maskedConv2dBackwardWeight', () => ({ gradBias: null })),
    ],
    [
      'a gradient that a ReLU should have masked',
      maskedConv2dRow,
      inOp('accumulate', () => ({ reluOutput: null })),
    ],
    [
      'a head whose features are taken for the output of a ReLU',
      softmaxCrossEntropyRow,
      inOp('softmaxCrossEntropy', (f) => ({ reluOutput: f.x! })),
    ],
    [
      'a gradient of a gate that forgets the condition',
      gatedActivationRow,
      inOp('gatedActivationBackward', () => ({ condition: null })),
    ],
    [
      'a gradient of a condition that leaves out a pixel',
      addConditionRow,
      inOp('sumPixels', (f) => ({ pixels: Math.max(1, (f.pixels as number) - 1) })),
    ],
    [
      'a gradient of a table that takes one row for another',
      embeddingRow,
      inOp('embeddingBackward', (f) => ({ rows: Math.max(1, (f.rows as number) - 1) })),
    ],
  ])('%s', async (_, row, change) => {
    plant(change);
    expect(await fails(row, gradients)).toBe(true);
  });

  it.each<[string, (op: RecordedOp) => OpFields | undefined]>([
    ['a front that is one ahead', inRegion((f) => ({ ahead: plus(f.ahead!, 1) }))],
    ['a front of another slope', inRegion((f) => ({ slope: plus(f.slope!, 1) }))],
    ['the first group in place of all', inRegion(() => ({ group: 0 }))],
    ['a region without what is added', inRegion(() => ({ add: null }))],
  ])('%s', async (_, change) => {
    plant(change);
    expect(await fails(maskedConv2dRow, region)).toBe(true);
  });

  it.each([addConditionRow, gatedActivationRow])(
    'a region of $op that takes the first rows of a map for those of images',
    async (row) => {
      plant((op) => (op.op === row.op && op.fields.pixels !== 0 ? { perPixel: 0 } : undefined));
      expect(await fails(row, region)).toBe(true);
    },
  );

  it('a layer that sees the present pixel where it says that it does not', async () => {
    plant(leaking);
    expect(await fails(maskedConv2dRow, reference)).toBe(true);
  });
});

describe('the tests of a network find', () => {
  const config = { channels: 3, hiddenChannels: 6, layers: 3, levels: 3, kernelSize: 3 };
  const tested = { name: 'plain', config, network: new PlainNetwork(config) };
  it('a first layer that sees the present pixel', async () => {
    await checkCausality(device(), tested);
    // The layer has mask B, and says that it sees the past.
    const parameters = new Declarations();
    const layer = new Conv2d(parameters, 'net.0', 3, 6, squareWindow(3, 'B'), { channelGroups: 3 });
    const head = new SoftmaxHead(parameters, 'net.2', 6, 3, 3);
    const features = (r: Recorder, image: Tensor) => layer.forward(r, image, { relu: true });
    const leaky = { ...tested, network: { parameters, head, features } };
    await expect(checkCausality(device(), leaky)).rejects.toMatchObject({ code: 'ERR_CAUSALITY' });
    vi.spyOn(Sights.prototype, 'of').mockReturnValue('past');
    await expect(checkCausality(device(), leaky)).rejects.toThrow('logits that see value');
  });

  it('an input gradient without the mask of its ReLU', async () => {
    plant(inOp('maskedConv2dBackwardInput', () => ({ reluOutput: null })));
    await expect(checkNetworkGradients(device(), tested, 1e-4)).rejects.toThrow('gradient of net.0');
  });

  it('a sampler that leaves out a channel group', async () => {
    plant(inRegion((f) => ({ group: Math.min(f.group as number, 1) })));
    await expect(checkSampler(device(), tested)).rejects.toThrow('logits: bits differ');
  });
});
