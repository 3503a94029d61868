// Compares two arrays: their relative L2 distance, and where the largest difference is.
import { expect } from 'vitest';

/** ‖actual − expected‖ / ‖expected‖ in float64; 0 for two zero arrays, Infinity for anything against zeros. */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i += 1) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
  if (difference === 0) return 0;
  return norm === 0 ? Number.POSITIVE_INFINITY : Math.sqrt(difference / norm);
}

/** The largest absolute difference and its place; NaN against a number counts as infinite. */
export function maxError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): { error: number; index: number } {
  let worst = { error: actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY, index: -1 };
  for (let i = 0; i < Math.min(actual.length, expected.length); i += 1) {
    if (Object.is(actual[i], expected[i])) continue;
    const distance = Math.abs(actual[i]! - expected[i]!);
    const error = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance;
    if (error > worst.error) worst = { error, index: i };
  }
  return worst;
}

/** Fails unless the relative L2 distance is at most `limit`; returns the distance. */
export function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  limit = 1e-5,
): number {
  const distance = relativeL2(actual, expected);
  if (!(distance <= limit)) {
    const { error, index } = maxError(actual, expected);
    expect.fail(
      `${what}: relative L2 distance ${distance} exceeds ${limit}; lengths ${actual.length} and ${expected.length}; ` +
        `largest difference ${error} at ${index}: got ${actual[index]}, expected ${expected[index]}`,
    );
  }
  return distance;
}

/** The first index at which two float32 arrays differ in any bit, or -1. */
export function firstBitDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length);
  for (let i = 0; i < x.length; i += 1) if (x[i] !== y[i]) return i;
  return -1;
}

/** Fails unless two float32 arrays have the same bits. */
export function expectSameBits(what: string, actual: Float32Array, expected: Float32Array): void {
  const at = firstBitDifference(actual, expected);
  if (at >= 0) {
    expect.fail(
      `${what}: bits differ at ${at} of ${expected.length} (got ${actual.length}): ${actual[at]} and ${expected[at]}`,
    );
  }
}
