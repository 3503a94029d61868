// Tests how bytes become levels and network input, for every byte and every number of levels.
import { describe, expect, it } from 'vitest';
import { levelOfByte } from '../../src/data/levels.js';
import { quantise } from '../../src/ops/quantise.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';

const device = testDevice();
const allBytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const allLevels = Array.from({ length: 255 }, (_, i) => i + 2);

describe('quantise', () => {
  it('level = floor(byte * levels / 256) and x = level / (levels - 1), all bytes, 2 to 256 levels', async () => {
    for (const levels of allLevels) {
      const [level, x] = await runOps(device(), [allBytes], (r) => {
        const result = quantise(r, 'quantise', r.input('bytes', [256], 'uint8'), levels);
        r.output(result.level);
        r.output(result.x);
      });
      const expected = Array.from(allBytes, (byte) => Number((BigInt(byte) * BigInt(levels)) / 256n));
      expect(Array.from(new Uint8Array(level!)), `${levels} levels`).toEqual(expected);
      expect(Array.from(allBytes, (byte) => levelOfByte(byte, levels))).toEqual(expected);
      expect(Array.from(new Float32Array(x!)), `${levels} levels`).toEqual(
        expected.map((value) => Math.fround(value / (levels - 1))),
      );
    }
  });

  it('works on more bytes than one thread takes', async () => {
    const bytes = Uint8Array.from({ length: 3 * 16384 + 5 }, (_, i) => (i * 7) % 256);
    const [level] = await runOps(device(), [bytes], (r) => {
      r.output(quantise(r, 'quantise', r.input('bytes', [bytes.length], 'uint8'), 16).level);
    });
    expect(new Uint8Array(level!)).toEqual(bytes.map((byte) => byte >> 4));
  });
});
