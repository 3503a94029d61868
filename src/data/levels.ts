// How a byte becomes a level and back: what a model with fewer than 256 levels sees of an image. The page
// docs/levels.md tells it with examples.
//
// A pixel of a model takes `levels` values, 0 to levels - 1. Images usually come as bytes, 0 to 255:
//   level = floor(byte * levels / 256),
// so each level stands for equally many bytes, but for rounding. The network sees level / (levels - 1). Some images hold
// levels already (masks of 0 and 1, label maps, codes): as bytes, all of them would be level 0 or near it.
import type { ImageValues } from './image-batch.js';

/** The level of a byte. */
export function levelOfByte(byte: number, levels: number): number {
  return Math.floor((byte * levels) / 256);
}

/**
 * For each level the byte nearest to level * 255 / (levels - 1) among the bytes that have this level, so that
 * byte -> level -> byte -> level is stable for every number of levels.
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

/** `data` as bytes: a level as its byte of {@link bytesOfLevels}; bytes stay as they are and are not copied. */
export function asBytes(data: Uint8Array, values: ImageValues | undefined, levels: number): Uint8Array {
  if (values !== 'levels') return data;
  const bytes = new Uint8Array(data.length);
  writeBytesOfLevels(data, levels, bytes);
  return bytes;
}

/** Writes the byte of each level of `data`. */
export function writeBytesOfLevels(data: Uint8Array, levels: number, to: Uint8Array): void {
  if (levels === 256) {
    to.set(data); // a level is its byte
    return;
  }
  const byteOf = bytesOfLevels(levels);
  // A loop takes a fifth of the time of `map` with a function.
  for (let i = 0; i < data.length; i += 1) to[i] = byteOf[data[i]!]!;
}
