// Converts bytes to the levels of a model and back. See docs/levels.md for examples.
//
// A pixel of a model takes one of `levels` values, 0 to levels - 1, but images usually hold bytes, 0 to 255:
//   level = floor(byte * levels / 256).
// Equally many bytes have each level, up to rounding. The input of the network is level / (levels - 1).
// Some images hold levels already (masks of 0 and 1, label maps, codes). Read as bytes, all their pixels would
// be level 0 or nearly so.
import type { ImageValues } from './image-batch.js';

/** Converts a byte to a level. */
export function levelOfByte(byte: number, levels: number): number {
  return Math.floor((byte * levels) / 256);
}

/**
 * Returns a byte for each level: of the bytes that have this level, the one nearest to level * 255 / (levels
 * - 1). Such a byte converts back to the same level, for every number of levels.
 */
export function bytesOfLevels(levels: number): Uint8Array {
  const bytes = new Uint8Array(levels);
  for (let level = 0; level < levels; level += 1) {
    const lowest = Math.ceil((level * 256) / levels);
    const highest = Math.ceil(((level + 1) * 256) / levels) - 1;
    const ideal = Math.round((level * 255) / (levels - 1));
    bytes[level] = Math.min(Math.max(ideal, lowest), highest);
  }
  return bytes;
}

/**
 * Converts levels to bytes as in {@link bytesOfLevels}. If `data` holds bytes already, it is returned without
 * a copy.
 */
export function asBytes(data: Uint8Array, values: ImageValues | undefined, levels: number): Uint8Array {
  if (values !== 'levels') return data;
  const bytes = new Uint8Array(data.length);
  writeBytesOfLevels(data, levels, bytes);
  return bytes;
}

/** Writes the bytes of the levels in `data` into `to`, which has the same length. */
export function writeBytesOfLevels(data: Uint8Array, levels: number, to: Uint8Array): void {
  if (levels === 256) {
    to.set(data); // with 256 levels, a level is the same number as its byte
    return;
  }
  const byteOf = bytesOfLevels(levels);
  // A loop takes a fifth of the time that `map` with a function takes.
  for (let i = 0; i < data.length; i += 1) to[i] = byteOf[data[i]!]!;
}
