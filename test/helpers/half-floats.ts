// Converts numbers to the 16-bit formats in which activations are stored, and back.
import type { Precision } from '../../src/device/precision.js';

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Rounds to the nearest float with so many bits of mantissa, ties to even. */
function roundMantissa(value: number, mantissa: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const step = 2 ** (exponent - mantissa);
  const scaled = value / step;
  const below = Math.floor(scaled);
  const up = scaled - below > 0.5 || (scaled - below === 0.5 && below % 2 !== 0);
  return (up ? below + 1 : below) * step;
}

/** Rounds a value as the precision stores it. */
export function rounded(value: number, precision: Precision): number {
  if (precision === 'bf16') return roundMantissa(value, 7);
  if (precision !== 'f16') return Math.fround(value);
  // Below 2^-14 the numbers of float16 are multiples of 2^-24.
  return Math.abs(value) < 2 ** -14 ? Math.round(value * 2 ** 24) * 2 ** -24 : roundMantissa(value, 10);
}

/** The array in which a precision stores values. */
export function encodeActivations(
  values: ArrayLike<number>,
  precision: Precision,
): Float32Array | Uint16Array {
  if (precision === 'f32' || precision === 'tf32') return Float32Array.from(values);
  return Uint16Array.from(values, (value) => encodeHalf(rounded(value, precision), precision));
}

function encodeHalf(value: number, precision: 'bf16' | 'f16'): number {
  float[0] = value;
  const word = bits[0]!;
  if (precision === 'bf16') return word >>> 16;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (magnitude < 2 ** -14) return sign | (magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  return sign | ((exponent + 15) << 10) | ((magnitude / 2 ** exponent - 1) * 1024);
}

/** The values of an array in which a precision stores activations. */
export function decodeActivations(buffer: ArrayBuffer, precision: Precision): Float64Array {
  if (precision === 'f32' || precision === 'tf32') return Float64Array.from(new Float32Array(buffer));
  return Float64Array.from(new Uint16Array(buffer), (word) => decodeHalf(word, precision));
}

function decodeHalf(word: number, precision: 'bf16' | 'f16'): number {
  if (precision === 'bf16') {
    bits[0] = word << 16;
    return float[0]!;
  }
  const sign = word & 0x8000 ? -1 : 1;
  const [exponent, mantissa] = [(word >> 10) & 31, word & 1023];
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}
