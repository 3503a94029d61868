// Defines the rows of masked convolutions in the table of tested ops: forward, gradients, packing and regions.

import {
  filterFields,
  maskedConv2d,
  maskedConv2dPack,
  type NamedFilter,
  packedBytes,
} from '../../../src/ops/masked-conv2d.js';
import { rowSoFarWindow, rowsAboveWindow, squareWindow, type Window } from '../../../src/ops/window.js';
import { paddedShape } from '../../../src/program/front.js';
import type { Recorder } from '../../../src/program/recorder.js';
import { SamplerCanvas, wholeImages } from '../../../src/program/sampler-pass.js';
import { describeTensor, type Tensor } from '../../../src/program/tensor.js';
import { gradientScale } from '../../helpers/gradient-scale.js';
import { withBorder } from '../../helpers/ops.js';
import type { TestRandom } from '../../helpers/random.js';
import type { OpCase, OpRow, RegionCase, TestTensor } from '../../helpers/test-op.js';
import {
  type ConvShape,
  convBackward,
  convForward,
  maskOf,
  type WindowShape,
} from '../../oracle/masked-conv2d.js';

type Algorithm = 'direct' | 'winograd';
type Shape = Omit<ConvShape, 'size' | 'mask'> & WindowShape;

function randomWindow(random: TestRandom): Window {
  const mask = random.pick(['A', 'B'] as const);
  switch (random.int(0, 3)) {
    case 0:
      return squareWindow(random.pick([1, 3, 3, 5, 7]), mask);
    case 1:
      return rowsAboveWindow(random.pick([3, 5, 7]), mask);
    case 2:
      return rowSoFarWindow(random.pick([3, 5, 7]), mask);
    default: {
      const [rows, columns] = [random.int(1, 4), random.int(1, 5)];
      const above = random.int(0, rows - 1);
      // A window of rows above has rows above.
      const ownRow = random.pick(
        above > 0 ? (['none', 'left', 'centre', 'all'] as const) : (['left', 'centre', 'all'] as const),
      );
      return { rows, columns, above, left: random.int(0, columns - 1), ownRow };
    }
  }
}

function randomShape(random: TestRandom): Shape {
  const groups = random.pick([1, 1, 3]);
  return {
    n: random.int(1, 3),
    h: random.int(1, 6),
    w: random.int(1, 6),
    c: groups + random.int(0, 18),
    k: groups + random.int(0, 18),
    groups,
    ...randomWindow(random),
  };
}

const filterOf = (shape: Shape, bias = true): NamedFilter => {
  const { c, k, groups, rows, columns, above, left, ownRow } = shape;
  return { name: 'conv', c, k, window: { rows, columns, above, left, ownRow }, channelGroups: groups, bias };
};

const tensor = (
  random: TestRandom,
  shape: readonly number[],
  type: 'activation' | 'float32' = 'activation',
): TestTensor => ({ shape, type, values: random.normals(shape.reduce((a, b) => a * b, 1)) });

/** A weight whose entries under the mask are NaN, which nothing may read. */
function weightOf(random: TestRandom, shape: Shape): TestTensor {
  const { c, k, rows, columns } = shape;
  const weight = tensor(random, [k, c, rows, columns], 'float32');
  const values = Float32Array.from(weight.values, (value, i) => {
    const tap = i % (rows * columns);
    const filter = Math.floor(i / (rows * columns));
    const live = maskOf(shape, Math.floor(filter / c), filter % c, Math.floor(tap / columns), tap % columns);
    return live === 1 ? value : Number.NaN;
  });
  return { ...weight, values };
}

function packedOf(
  r: Recorder,
  filter: NamedFilter,
  algorithm: Algorithm,
  direction: 'forward' | 'backward',
  weight: Tensor,
): Tensor {
  const packed = r.tensor('packed', [packedBytes(r, filter, algorithm, direction)], 'byte');
  const fields = filterFields(r, filter, algorithm);
  maskedConv2dPack(r, 'pack', [{ ...fields, direction: direction === 'forward' ? 0 : 1, weight, packed }]);
  return packed;
}

/** Winograd's rounding is larger where sums cancel, so only ordinary shapes take it. */
const algorithmOf = (index: number): Algorithm => (index % 3 === 0 ? 'winograd' : 'direct');

/** conv(x) + bias + add, then ReLU. `bias` and `add` are optional. */
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
  if (index % 4 !== 1) inputs['conv.bias'] = tensor(random, [k], 'float32');
  if (index % 2 === 0) inputs.add = tensor(random, [n, h, w, k]);
  return { shape, relu: random.pick([true, false]), inputs };
}

function emitForward(
  r: Recorder,
  { shape, relu }: ForwardCase,
  algorithm: Algorithm,
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
          const packed = packedOf(r, filterOf(shape), algorithm, 'forward', given['conv.weight']!);
          const y = r.activation('y', [n, h, w, k]);
          const [bias, add] = [given['conv.bias'] ?? null, given.add ?? null];
          emitForward(r, forward, algorithm, { x: given.x!, packed, bias, add, y });
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
      packedOf(r, filterOf(shape), 'direct', 'forward', given['conv.weight']!);
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

export const backwardInputRow: OpRow = {
  op: 'maskedConv2dBackwardInput',
  cases: 120,
  draw(random, index): OpCase {
    const shape = randomShape(random);
    const { n, h, w, c, k } = shape;
    const inputs: Record<string, TestTensor> = {
      gradY: tensor(random, [n, h, w, k]),
      weight: weightOf(random, shape),
      ...(index % 2 === 0 && { add: tensor(random, [n, h, w, c]) }),
    };
    if (index % 3 !== 2) {
      const x = tensor(random, [n, h, w, c]);
      inputs.reluOutput = { ...x, values: Float32Array.from(x.values, (value) => Math.max(value, 0)) };
    }
    return {
      text: JSON.stringify({ ...shape, inputs: Object.keys(inputs) }),
      inputs,
      record(r, given) {
        const algorithm = algorithmOf(index);
        const packed = packedOf(r, filterOf(shape), algorithm, 'backward', given.weight!);
        const gradX = r.activation('gradX', [n, h, w, c]);
        const { gradY, add = null, reluOutput = null } = given;
        const sizes = { n, h, w, ...filterFields(r, filterOf(shape), algorithm) };
        r.emit({
          op: 'maskedConv2dBackwardInput',
          label: 'input gradient',
          fields: { ...sizes, gradY: gradY!, packed, add, reluOutput, gradX },
          result: gradX,
        });
        return { gradX };
      },
      reference({ gradY, weight, add, reluOutput }) {
        const x = new Float64Array(n * h * w * c);
        const { gradInput } = convBackward(shape, x, weight!, gradY!);
        return {
          gradX: gradInput.map((value, i) =>
            reluOutput && reluOutput[i]! <= 0 ? 0 : value + (add?.[i] ?? 0),
          ),
        };
      },
    };
  },
};

export const backwardWeightRow: OpRow = {
  op: 'maskedConv2dBackwardWeight',
  cases: 120,
  draw(random, index): OpCase {
    const shape = randomShape(random);
    const { n, h, w, c, k, rows, columns } = shape;
    const inputs = { x: tensor(random, [n, h, w, c]), gradY: tensor(random, [n, h, w, k]) };
    const withBias = index % 3 !== 0;
    return {
      text: JSON.stringify({ ...shape, withBias }),
      inputs,
      record(r, given) {
        const sizes = { n, h, w, ...filterFields(r, filterOf(shape), algorithmOf(index + 1)) };
        const gradWeight = r.tensor('gradWeight', [k, c, rows, columns]);
        const gradBias = withBias ? r.tensor('gradBias', [k]) : null;
        r.emit({
          op: 'maskedConv2dBackwardWeight',
          label: 'weight gradient',
          fields: { ...sizes, x: given.x!, gradY: given.gradY!, gradWeight, gradBias },
          result: gradWeight,
        });
        return { gradWeight, ...(gradBias && { gradBias }) };
      },
      reference({ x, gradY }, precision) {
        const weight = new Float64Array(k * c * rows * columns);
        const { gradWeight, gradBias } = convBackward(shape, x!, weight, gradY!);
        const scale = gradientScale(precision, n * h * w);
        return {
          gradWeight: gradWeight.map((value) => value / scale),
          ...(withBias && { gradBias: gradBias.map((value) => value / scale) }),
        };
      },
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
