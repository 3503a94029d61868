// From image bytes to levels and network input: level = floor(byte * levels / 256), x = level / (levels - 1).
import type { Recorder } from '../recorder.js';
import { elements, type Tensor } from '../tensor.js';

/** Level (uint8) and network input, both in the shape of `bytes`. */
export function quantise(
  r: Recorder,
  label: string,
  bytes: Tensor,
  levels: number,
): { level: Tensor; x: Tensor } {
  const level = r.tensor(`${label} level`, bytes.shape, 'uint8');
  const x = r.activation(`${label} x`, bytes.shape);
  r.emit({
    name: 'quantise',
    label,
    numbers: [elements(bytes.shape), levels, r.precisionNumber],
    operands: [bytes, level, x],
    result: x,
  });
  return { level, x };
}

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
