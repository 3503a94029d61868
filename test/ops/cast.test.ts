// Tests that values from outside become activations only where those have another type.
import { expect, it } from 'vitest';
import { precisions } from '../../src/device/precision.js';
import { cast } from '../../src/ops/cast.js';
import { Recorder } from '../../src/program/recorder.js';
import { testDevice } from '../helpers/models.js';

const device = testDevice();

it.each(precisions)('is recorded where activations are not float32 (%s)', (precision) => {
  const r = new Recorder(device(), { precision });
  const x = r.input('x', [2, 3, 4, 5]);
  const y = cast(r, 'cast', x);
  const half = { bf16: 'bfloat16', f16: 'float16' } as const;
  if (precision === 'bf16' || precision === 'f16') {
    expect(y).toMatchObject({ shape: [2, 3, 4, 5], dtype: half[precision] });
    expect(r.ops.map(({ op, fields }) => [op, fields.count])).toEqual([['cast', 120]]);
  } else {
    expect(y).toBe(x);
    expect(r.ops).toEqual([]);
  }
  expect(r.sights.of(y)).toBe('condition');
});
