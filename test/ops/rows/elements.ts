// Defines the rows of ops that work element by element, and of random draws, in the table of tested ops.
import { accumulate } from '../../../src/ops/accumulate.js';
import { quantise } from '../../../src/ops/quantise.js';
import { binarise, randomUniform } from '../../../src/ops/random.js';
import { zero } from '../../../src/ops/zero.js';
import { elements } from '../../../src/program/tensor.js';
import { philox, uniform } from '../../../src/random/philox.js';
import type { OpCase, OpRow, TestTensor } from '../../helpers/op-row.js';

export const accumulateRow: OpRow = {
  op: 'accumulate',
  cases: 40,
  draw(random, index): OpCase {
    const shape = [random.int(1, 3), random.int(1, 9), random.int(1, 9), random.int(1, 40)];
    const count = elements(shape);
    const normal = (): TestTensor => ({ shape, type: 'activation', values: random.normals(count) });
    const inputs: Record<string, TestTensor> = { a: normal() };
    if (index % 2 === 0) inputs.b = normal();
    if (index % 3 !== 0)
      inputs.reluOutput = { ...normal(), values: random.normals(count).map((v) => Math.max(v, 0)) };
    return {
      text: `${shape.join('x')}, ${Object.keys(inputs).join(', ')}`,
      inputs,
      record(r, { a, b = null, reluOutput = null }) {
        return { y: accumulate(r, 'accumulate', a!, b, reluOutput) };
      },
      reference({ a, b, reluOutput }) {
        return { y: Array.from(a!, (v, i) => (reluOutput && reluOutput[i]! <= 0 ? 0 : v + (b?.[i] ?? 0))) };
      },
    };
  },
};

export const quantiseRow: OpRow = {
  op: 'quantise',
  cases: 24,
  draw(random): OpCase {
    const levels = random.int(2, 256);
    const shape = [random.int(1, 3), random.int(1, 20), random.int(1, 20), random.pick([1, 3])];
    const values = random.bytes(elements(shape));
    return {
      text: `${shape.join('x')}, ${levels} levels`,
      inputs: { bytes: { shape, type: 'uint8', values } },
      record: (r, { bytes }) => quantise(r, 'quantise', bytes!, levels),
      reference({ bytes }) {
        const level = Array.from(bytes!, (byte) => Math.floor((byte * levels) / 256));
        return { level, x: level.map((value) => value / (levels - 1)) };
      },
    };
  },
};

export const zeroRow: OpRow = {
  op: 'zero',
  cases: 8,
  draw(random): OpCase {
    const length = random.int(1, 100_000);
    return {
      text: `${length} floats`,
      inputs: { y: { shape: [length], type: 'float32', values: random.normals(length) } },
      record(r, { y }) {
        zero(r, 'zero', y!);
        return { y: y! };
      },
      reference: ({ y }) => ({ y: new Float64Array(y!.length) }),
    };
  },
};

export const randomUniformRow: OpRow = {
  op: 'randomUniform',
  cases: 16,
  draw(random): OpCase {
    const [n, values] = [random.int(1, 6), random.int(1, 300)];
    return {
      text: `${n} images of ${values}`,
      inputs: {
        index: { shape: [n], type: 'uint32', values: Array.from({ length: n }, () => random.word()) },
        random: { shape: [4], type: 'uint32', values: [random.word(), random.word(), 0, 0] },
      },
      record(r, given) {
        const u = r.tensor('u', [n, values]);
        randomUniform(r, 'uniforms', { index: given.index!, random: given.random!, u });
        return { u };
      },
      reference({ index, random: key }) {
        const u = Array.from({ length: n * values }, (_, i) => {
          const counter = [index![Math.floor(i / values)]!, i % values, 0, 0] as const;
          return uniform(philox([...counter], [key![0]!, key![1]!])[0]!);
        });
        return { u };
      },
    };
  },
};

export const binariseRow: OpRow = {
  op: 'binarise',
  cases: 16,
  draw(random): OpCase {
    const [n, pixels] = [random.int(1, 6), random.int(1, 300)];
    return {
      text: `${n} images of ${pixels} pixels`,
      inputs: {
        bytes: { shape: [n, pixels], type: 'uint8', values: random.bytes(n * pixels) },
        index: { shape: [n], type: 'uint32', values: Array.from({ length: n }, () => random.word()) },
        random: { shape: [4], type: 'uint32', values: [random.word(), random.word(), random.int(0, 9), 0] },
      },
      record: (r, given) => ({
        out: binarise(r, 'binarise', { bytes: given.bytes!, index: given.index!, random: given.random! }),
      }),
      reference({ bytes, index, random: key }) {
        const out = Array.from(bytes!, (byte, i) => {
          const counter = [index![Math.floor(i / pixels)]!, i % pixels, key![2]!, 1];
          return uniform(philox(counter, [key![0]!, key![1]!])[0]!) < byte / 255 ? 255 : 0;
        });
        return { out };
      },
    };
  },
};
