// Tests that a lookup keeps indices inside its table, and that the gradient of a table adds in a fixed order.
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import { embedding } from '../../src/ops/embedding.js';
import { Recorder } from '../../src/program/recorder.js';
import { describeTensor } from '../../src/program/tensor.js';
import { expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';
import { TestRandom } from '../helpers/random.js';

const device = testDevice();

describe('embedding', () => {
  it('takes the last row for an index beyond the table', async () => {
    const table = Float32Array.of(1, 2, 3, 4, 5, 6);
    const index = Uint32Array.of(2, 0, 3, 0xffffffff, 0x80000000);
    const [y] = await runOps(device(), [table, index], (r) => {
      const result = r.tensor('y', [5, 1, 1, 2]);
      const [rows, at] = [r.input('table', [3, 2]), r.input('index', [5], 'uint32')];
      const fields = { count: 5, rows: 3, size: 2, precision: 0, table: rows, index: at, y: result };
      r.emit({ op: 'embedding', label: 'embedding', fields, result });
      r.output(result);
    });
    expect([...new Float32Array(y!)]).toEqual([5, 6, 1, 2, 5, 6, 5, 6, 5, 6]);
  });

  it('refuses a parameter that is no table', () => {
    const table = describeTensor('table', [3, 2, 1, 1], 'float32');
    const r = new Recorder(device(), { parameters: new Map([['table', table]]) });
    expect(() => embedding(r, 'table', r.input('index', [5], 'uint32'))).toThrow(
      'table: a table must have two dimensions',
    );
  });
});

describe('the gradient of a table', () => {
  it('adds in increasing order of the index, and is 0 for rows that nothing looked up', async () => {
    // In float32 the sum of these depends on the order: (1e8 + 1) - 1e8 is 0, and (1e8 - 1e8) + 1 is 1.
    const gradY = Float32Array.of(1e8, 7, 1, -1e8, 1e8, -1e8, 1);
    const index = Uint32Array.of(0, 3, 0, 0, 2, 2, 2);
    const gradTable = await gradient(gradY, index, 4, 1);
    expect([...gradTable]).toEqual([0, 0, 1, 7]);
  });

  it('has the same bits with any number of threads', async () => {
    const random = new TestRandom(4);
    const [count, rows, size] = [200, 7, 321];
    const gradY = random.normals(count * size);
    const index = Uint32Array.from({ length: count }, () => random.int(0, rows - 1));
    const expected = new Float32Array(rows * size);
    gradY.forEach((value, i) => {
      const at = index[Math.floor(i / size)]! * size + (i % size);
      expected[at] = expected[at]! + value;
    });
    for (const threads of [1, 2, 5]) {
      const own = await openDevice({ backend: 'cpu', threads });
      const gradTable = await gradient(gradY, index, rows, size, own);
      await own.dispose();
      expectSameBits(`${threads} threads`, gradTable, expected);
    }
  });
});

/** Computes the gradient of a table (rows, size). */
async function gradient(
  gradY: Float32Array,
  index: Uint32Array,
  rows: number,
  size: number,
  on = device(),
): Promise<Float32Array> {
  const count = index.length;
  const [gradTable] = await runOps(on, [index, gradY], (r) => {
    const result = r.tensor('gradTable', [rows, size]);
    const operands = { index: r.input('index', [count], 'uint32'), gradY: r.input('gradY', [count, size]) };
    const fields = { count, rows, size, precision: 0, ...operands, gradTable: result };
    r.emit({ op: 'embeddingBackward', label: 'gradient', fields, result });
    r.output(result);
  });
  return new Float32Array(gradTable!);
}
