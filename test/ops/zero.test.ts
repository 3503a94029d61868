// Tests that zero clears whatever a tensor held.
import { describe, it } from 'vitest';
import { zero } from '../../src/ops/zero.js';
import { expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { fed, runOps } from '../helpers/ops.js';

const device = testDevice();

describe('zero', () => {
  it('clears what was there', async () => {
    const values = new Float32Array(200_003).fill(Number.NaN);
    const [y] = await runOps(device(), [values], (r) => {
      const tensor = fed(r, 'y', [values.length]);
      zero(r, 'zero', tensor);
      r.output(tensor);
    });
    expectSameBits('y', new Float32Array(y!), new Float32Array(values.length));
  });
});
