// Defines the rows of the gradients of masked convolutions in the table of tested ops.
import { filterFields } from '../../../src/ops/masked-conv2d.js';
import { gradientScale } from '../../helpers/gradient-scale.js';
import type { OpCase, OpRow, TestTensor } from '../../helpers/op-row.js';
import { packed } from '../../helpers/ops.js';
import { convBackward } from '../../oracle/masked-conv2d.js';
import { algorithmOf, filterOf, randomShape, tensor, weightOf } from './convolutions.js';

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
        const weights = packed(r, filterOf(shape), 'backward', given.weight!, algorithm);
        const gradX = r.activation('gradX', [n, h, w, c]);
        const { gradY, add = null, reluOutput = null } = given;
        const sizes = { n, h, w, ...filterFields(r, filterOf(shape), algorithm) };
        r.emit({
          op: 'maskedConv2dBackwardInput',
          label: 'input gradient',
          fields: { ...sizes, gradY: gradY!, packed: weights, add, reluOutput, gradX },
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
