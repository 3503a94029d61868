// Defines the rows of what makes, adds and differentiates conditions in the table of tested ops.
import { addCondition, conditionPerPixel } from '../../../src/ops/add-condition.js';
import { embedding } from '../../../src/ops/embedding.js';
import { sumPixels } from '../../../src/ops/sum-pixels.js';
import type { Recorder } from '../../../src/program/recorder.js';
import { elements } from '../../../src/program/tensor.js';
import { gradientScale } from '../../helpers/gradient-scale.js';
import type { OpCase, OpRow, RegionCase, Tensors, TestTensor } from '../../helpers/op-row.js';
import type { TestRandom } from '../../helpers/random.js';
import { plusCondition, rowsAt, sumOverPixels } from '../../oracle/condition.js';
import { tensor } from './convolutions.js';
import { pixelwiseRegion } from './pixelwise-region.js';

/** n images of h x w pixels. */
type Images = Readonly<Record<'n' | 'h' | 'w', number>>;

/** Draws a condition with a row for each image, or for each pixel. */
export function drawCondition(random: TestRandom, { n, h, w }: Images, channels: number): TestTensor {
  return tensor(random, random.pick([true, false]) ? [n, 1, 1, channels] : [n, h, w, channels]);
}

/** The fields of an op that takes a condition, for activations of so many channels. */
export function conditionFields(r: Recorder, given: Tensors, images: Images, channels: number) {
  const { condition } = given;
  if (condition === undefined) return { condition: null, perPixel: 0 };
  return { condition, perPixel: conditionPerPixel(r, 'test', condition, images, channels) };
}

/** Draws the operands of a lookup: some rows several times, some never, and some indices beyond the table. */
function drawLookup(random: TestRandom) {
  const sizes = { count: random.int(1, 30), rows: random.int(1, 12), size: random.int(1, 70) };
  const values = Array.from({ length: sizes.count }, () => random.int(0, sizes.rows));
  const index: TestTensor = { shape: [sizes.count], type: 'uint32', values };
  return { ...sizes, index, text: JSON.stringify(sizes) };
}

export const embeddingRow: OpRow = {
  op: 'embedding',
  cases: 40,
  draw(random): OpCase {
    const { count, rows, size, index, text } = drawLookup(random);
    return {
      text,
      inputs: { table: tensor(random, [rows, size], 'float32'), index },
      record(r, given) {
        const y = r.activation('y', [count, 1, 1, size]);
        const fields = { count, rows, size, precision: r.precisionNumber, ...given, y };
        r.emit({ op: 'embedding', label: 'embedding', fields, result: y });
        return { y };
      },
      reference: (values) => ({ y: rowsAt(values.table!, values.index!, size) }),
      gradients: {
        record: (r, given) => embedding(r, 'table', given.index!),
        parameters: ['table'],
        activations: [],
        output: 'y',
      },
    };
  },
};

export const embeddingBackwardRow: OpRow = {
  op: 'embeddingBackward',
  cases: 40,
  draw(random): OpCase {
    const { count, rows, size, index, text } = drawLookup(random);
    return {
      text,
      inputs: { index, gradY: tensor(random, [count, 1, 1, size]) },
      record(r, given) {
        const gradTable = r.tensor('gradTable', [rows, size]);
        const fields = { count, rows, size, precision: r.precisionNumber, ...given, gradTable };
        r.emit({ op: 'embeddingBackward', label: 'embedding gradient', fields, result: gradTable });
        return { gradTable };
      },
      reference({ index: at, gradY }, precision) {
        const gradTable = new Float64Array(rows * size);
        const scale = gradientScale(precision, count);
        Array.from(gradY!).forEach((value, i) => {
          const row = Math.min(at![Math.floor(i / size)]!, rows - 1);
          gradTable[row * size + (i % size)]! += value / scale;
        });
        return { gradTable };
      },
    };
  },
};

export const castRow: OpRow = {
  op: 'cast',
  cases: 24,
  draw(random): OpCase {
    const shape = [random.int(1, 3), random.int(1, 9), random.int(1, 9), random.int(1, 40)];
    return {
      text: shape.join('x'),
      inputs: { x: tensor(random, shape, 'float32') },
      // The layer records none where activations are float32 too.
      record(r, { x }) {
        const y = r.activation('y', shape);
        const fields = { count: elements(shape), precision: r.precisionNumber, x: x!, y };
        r.emit({ op: 'cast', label: 'cast', fields, result: y });
        return { y };
      },
      reference: ({ x }) => ({ y: Float64Array.from(x!) }),
    };
  },
};

/** Draws a sum of activations and a condition. Finite differences need sums away from the kink of a ReLU. */
function drawSum(random: TestRandom, index: number) {
  const images = { n: random.int(1, 3), h: random.int(1, 6), w: random.int(1, 6) };
  const c = random.int(3, 40);
  const drawn = tensor(random, [images.n, images.h, images.w, c]);
  const condition = drawCondition(random, images, c);
  const sums = plusCondition(drawn.values, condition.values, images.n);
  const values = Float32Array.from(drawn.values, (value, i) => {
    return Math.abs(sums[i]!) < 0.01 ? value + 0.05 : value;
  });
  return { images, c, x: { ...drawn, values }, condition, relu: index % 2 === 0 };
}

export const addConditionRow: OpRow = {
  op: 'addCondition',
  cases: 64,
  draw(random, index): OpCase {
    const { images, x, condition, relu } = drawSum(random, index);
    const record = (r: Recorder, given: Tensors) =>
      addCondition(r, 'sum', given.x!, given.condition!, 1, { relu });
    return {
      text: JSON.stringify({ x: x.shape, condition: condition.shape, relu }),
      inputs: { x, condition },
      record: (r, given) => ({ y: record(r, given) }),
      reference(values) {
        const sums = plusCondition(values.x!, values.condition, images.n);
        return { y: sums.map((value) => (relu ? Math.max(value, 0) : value)) };
      },
      gradients: { record, parameters: [], activations: ['x', 'condition'], output: 'y' },
    };
  },
  drawRegion(random, index): RegionCase {
    const { images, c, x, condition, relu } = drawSum(random, index);
    return pixelwiseRegion(random, index, {
      op: 'addCondition',
      images,
      channels: c,
      channelGroups: random.pick([1, 3]),
      x,
      others: { condition },
      fields: (r, given) => ({ c, relu: relu ? 1 : 0, ...conditionFields(r, given, images, c) }),
    });
  },
};

export const sumPixelsRow: OpRow = {
  op: 'sumPixels',
  cases: 40,
  draw(random): OpCase {
    const [n, h, w, c] = [random.int(1, 4), random.int(1, 12), random.int(1, 12), random.int(1, 70)];
    return {
      text: JSON.stringify({ n, h, w, c }),
      inputs: { x: tensor(random, [n, h, w, c]) },
      record: (r, { x }) => ({ y: sumPixels(r, 'sum', x!) }),
      // The gradient of a value for each pixel comes in, that of one for each image goes out.
      reference({ x }, precision) {
        const scale = gradientScale(precision, n) / gradientScale(precision, n * h * w);
        return { y: sumOverPixels(x!, n, c).map((value) => value * scale) };
      },
    };
  },
};
