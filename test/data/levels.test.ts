// Tests the conversion of levels to bytes and back for every number of levels.
import { describe, expect, it } from 'vitest';
import { asBytes, bytesOfLevels, levelOfByte } from '../../src/data/levels.js';

const allBytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const allLevels = Array.from({ length: 255 }, (_, i) => i + 2);

describe('bytesOfLevels', () => {
  it('byte -> level -> byte -> level is stable, and the byte is the nearest of its level', () => {
    for (const levels of allLevels) {
      const byteOf = bytesOfLevels(levels);
      expect(byteOf.length).toBe(levels);
      for (let level = 0; level < levels; level += 1) {
        const own = Array.from(allBytes).filter((byte) => levelOfByte(byte, levels) === level);
        const ideal = (level * 255) / (levels - 1);
        const nearest = Math.min(...own.map((byte) => Math.abs(byte - ideal)));
        expect(own, `${levels} levels, level ${level}`).toContain(byteOf[level]);
        expect(Math.abs(byteOf[level]! - ideal), `${levels} levels, level ${level}`).toBe(nearest);
      }
    }
  });

  it('keeps black and white, and every byte of 256 levels', () => {
    for (const levels of allLevels) {
      expect(bytesOfLevels(levels)[0]).toBe(0);
      expect(bytesOfLevels(levels)[levels - 1]).toBe(255);
    }
    expect(bytesOfLevels(256)).toEqual(allBytes);
  });
});

describe('asBytes', () => {
  it('gives every level a byte of that level, and leaves bytes as they are', () => {
    for (const levels of allLevels) {
      const level = allBytes.subarray(0, levels);
      expect(asBytes(level, 'levels', levels).map((byte) => levelOfByte(byte, levels))).toEqual(level);
    }
    for (const values of ['bytes', undefined] as const) expect(asBytes(allBytes, values, 2)).toBe(allBytes);
  });
});
