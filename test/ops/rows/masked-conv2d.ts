// Defines the rows of masked convolutions in the table of tested ops: forward, regions and packing.
import { filterFields, maskedConv2d, maskedConv2dPack, packedBytes } from '../../../src/ops/masked-conv2d.js';
import { paddedShape } from '../../../src/program/front.js';
import type { Recorder } from '../../../src/program/recorder.js';
import { SamplerCanvas, wholeImages } from '../../../src/program/sampler-pass.js';
import { describeTensor, type Tensor } from '../../../src/program/tensor.js';
import type { OpCase, OpRow, RegionCase, TestTensor } from '../../helpers/op-row.js';
import { packed, withBorder } from '../../helpers/ops.js';
import type { TestRandom } from '../../helpers/random.js';
import { convForward } from '../../oracle/masked-conv2d.js';
import { algorithmOf, filterOf, randomShape, type Shape, tensor, weightOf } from './convolutions.js';

/** Computes conv(x) + bias + add, then ReLU. `bias` and `add` are optional. */
function forwardOf(
  shape: Shape,
  arrays: Readonly<Record<string, ArrayLike<number>>>,
  relu: boolean,
): Float64Array {
  const zeros = new Float64Array(shape.k);
  const y = convForward(shape, arrays.x!, arrays['conv.weight']!, arrays['conv.bias'] ?? zeros);
  return y.map((value, i) => {
    const sum = value + (arrays.add?.[i] ?? 0);
    return relu && sum < 0 ? 0 : sum;
  });
}

/** A convolution with inputs `x`, `conv.weight` and perhaps `conv.bias` and `add`. */
interface ForwardCase {
  readonly shape: Shape;
  readonly relu: boolean;
  readonly inputs: Record<string, TestTensor>;
}

function drawForward(random: TestRandom, index: number): ForwardCase {
  const shape = randomShape(random);
  const { n, h, w, c, k } = shape;
  const inputs: Record<string, TestTensor> = {
    x: tensor(random, [n, h, w, c]),
    'conv.weight': weightOf(random, shape),
  };
  // Each with and without the other, and both on fronts and in rows, which take turns.
  if (index % 3 !== 1) inputs['conv.bias'] = tensor(random, [k], 'float32');
  if (index % 4 < 2) inputs.add = tensor(random, [n, h, w, k]);
  return { shape, relu: random.pick([true, false]), inputs };
}

function emitForward(
  r: Recorder,
  { shape, relu }: ForwardCase,
  algorithm: 'direct' | 'winograd',
  operands: { x: Tensor; packed: Tensor; bias: Tensor | null; add: Tensor | null; y: Tensor },
  at: { region: object; position: Tensor | null } = { region: wholeImages, position: null },
): void {
  const { n, h, w } = shape;
  const { x, packed, bias, add, y } = operands;
  const sizes = { n, h, w, ...filterFields(r, filterOf(shape), algorithm) };
  const flags = { relu: relu ? 1 : 0, floatY: 0 };
  r.emit({
    op: 'maskedConv2d',
    label: 'conv',
    fields: { ...sizes, ...at.region, ...flags, x, packed, bias, add, position: at.position, y },
    result: y,
  });
}

export const maskedConv2dRow: OpRow = {
  op: 'maskedConv2d',
  cases: 160,
  draw(random, index): OpCase {
    // Finite differences need values away from the kink of the ReLU.
    for (;;) {
      const forward = drawForward(random, index);
      const { shape, relu, inputs } = forward;
      const { n, h, w, k } = shape;
      const arrays = Object.fromEntries(Object.entries(inputs).map(([name, { values }]) => [name, values]));
      if (forwardOf(shape, arrays, false).some((value) => Math.abs(value) < 0.01)) continue;
      const parameters = ['conv.weight', ...(inputs['conv.bias'] ? ['conv.bias'] : [])];
      return {
        text: JSON.stringify({ ...shape, relu, inputs: Object.keys(inputs) }),
        inputs,
        record(r, given) {
          const algorithm = algorithmOf(index);
          const weights = packed(r, filterOf(shape), 'forward', given['conv.weight']!, algorithm);
          const y = r.activation('y', [n, h, w, k]);
          const [bias, add] = [given['conv.bias'] ?? null, given.add ?? null];
          emitForward(r, forward, algorithm, { x: given.x!, packed: weights, bias, add, y });
          return { y };
        },
        reference: (values) => ({ y: forwardOf(shape, values, relu) }),
        gradients: {
          record(r, given) {
            const filter = filterOf(shape, given['conv.bias'] !== undefined);
            return maskedConv2d(r, filter, given.x!, { add: given.add ?? null, relu });
          },
          parameters,
          activations: ['x', ...(inputs.add ? ['add'] : [])],
          output: 'y',
        },
      };
    }
  },
  drawRegion(random, index): RegionCase {
    const forward = drawForward(random, index);
    const { shape, inputs } = forward;
    const { n, h, w, k, groups, columns, above, left } = shape;
    const right = columns - 1 - left;
    const pad = Math.max(above, left, right) + random.int(0, 2);
    const row = index % 2 === 0;
    const slope = row ? Math.max(w, right + 1) + random.int(0, 1) : right + 1 + random.int(0, 2);
    const front = { pad, slope };
    const image = describeTensor('unused', [1], 'float32');
    const canvas = new SamplerCanvas({ n, h, w }, front, image, groups);
    const bordered = ({ values, type, shape: [, , , channels] }: TestTensor): TestTensor => {
      const padded = paddedShape(front, n, h, w, channels!);
      return { shape: padded, type, values: withBorder({ n, h, w, pad }, channels!, values) };
    };
    const all = {
      ...inputs,
      'bordered x': bordered(inputs.x!),
      ...(inputs.add && { 'bordered add': bordered(inputs.add) }),
    };
    const pack = (r: Recorder, given: Readonly<Record<string, Tensor>>) =>
      packed(r, filterOf(shape), 'forward', given['conv.weight']!);
    return {
      text: JSON.stringify({ ...shape, ...front, row, inputs: Object.keys(inputs) }),
      canvas,
      inputs: all,
      whole(r, given) {
        const y = r.activation('y', [n, h, w, k]);
        const [bias, add] = [given['conv.bias'] ?? null, given.add ?? null];
        emitForward(r, forward, 'direct', { x: given.x!, packed: pack(r, given), bias, add, y });
        return y;
      },
      region(r, given) {
        const y = r.activation('y', paddedShape(front, n, h, w, k));
        const [bias, add] = [given['conv.bias'] ?? null, given['bordered add'] ?? null];
        const operands = { x: given['bordered x']!, packed: pack(r, given), bias, add, y };
        // A whole pixel at once, or one channel group after the other.
        const groupsAtOnce =
          row || index % 4 === 1 ? [-1] : Array.from({ length: groups }, (_, group) => group);
        for (const group of groupsAtOnce) {
          const region = { pixels: row ? 2 : 1, pad, slope, ahead: 0, group };
          emitForward(r, forward, 'direct', operands, { region, position: canvas.position });
        }
        return y;
      },
      steps: w + slope * (h - 1) + random.int(0, 3),
    };
  },
};

/** The layout of packed weights is up to the backend, so a list of filters is packed and then applied. */
export const packRow: OpRow = {
  op: 'maskedConv2dPack',
  cases: 24,
  draw(random): OpCase {
    const first = randomShape(random);
    const count = random.int(1, 5);
    const shapes = Array.from({ length: count }, () => {
      return { ...randomShape(random), n: first.n, h: first.h, w: first.w };
    });
    const inputs: Record<string, TestTensor> = {};
    shapes.forEach((shape, i) => {
      inputs[`x${i}`] = tensor(random, [shape.n, shape.h, shape.w, shape.c]);
      inputs[`weight${i}`] = weightOf(random, shape);
    });
    return {
      text: JSON.stringify(shapes),
      inputs,
      record(r, given) {
        const packs = shapes.map((shape, i) => {
          const filter = filterOf(shape);
          const packed = r.tensor(`packed ${i}`, [packedBytes(r, filter, 'direct', 'forward')], 'byte');
          return { ...filterFields(r, filter, 'direct'), direction: 0, weight: given[`weight${i}`]!, packed };
        });
        maskedConv2dPack(r, 'pack', packs);
        return Object.fromEntries(
          shapes.map((shape, i) => {
            const y = r.activation(`y${i}`, [shape.n, shape.h, shape.w, shape.k]);
            const { packed } = packs[i]!;
            const operands = { x: given[`x${i}`]!, packed, bias: null, add: null, y };
            emitForward(r, { shape, relu: false, inputs }, 'direct', operands);
            return [`y${i}`, y];
          }),
        );
      },
      reference(arrays) {
        return Object.fromEntries(
          shapes.map((shape, i) => {
            const bias = new Float64Array(shape.k);
            return [`y${i}`, convForward(shape, arrays[`x${i}`]!, arrays[`weight${i}`]!, bias)];
          }),
        );
      },
    };
  },
};
