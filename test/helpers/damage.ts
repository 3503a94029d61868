// Checks that a reader refuses a damaged file with a typed error or gives what the whole file gives.
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import { PixelCnnError } from '../../src/errors.js';

/** The code of the typed error that `run` throws, 'accept' when it returns, the error itself when it is not typed. */
export function codeOf(run: () => unknown): unknown {
  try {
    run();
    return 'accept';
  } catch (error) {
    return error instanceof PixelCnnError ? error.code : error;
  }
}

/** A copy of `bytes` with one bit flipped; bit 0 is the lowest of the first byte. */
export function withBitFlipped(bytes: Uint8Array, bit: number): Uint8Array {
  const damaged = Uint8Array.from(bytes);
  damaged[bit >> 3]! ^= 1 << (bit & 7);
  return damaged;
}

/** Fails unless `read` accepts the whole file and refuses every beginning of it with a code that matches `codes`. */
export function expectTruncationsRefused(
  bytes: Uint8Array,
  read: (bytes: Uint8Array) => unknown,
  codes: RegExp,
): void {
  expect(codeOf(() => read(bytes))).toBe('accept');
  for (let length = 0; length < bytes.length; length += 1) {
    expect(
      codeOf(() => read(bytes.subarray(0, length))),
      `the first ${length} bytes`,
    ).toMatch(codes);
  }
}

/** What became of every flip of one bit, among the first `bits` of a file. */
export interface Flips {
  /** How many were refused with a code that matches. */
  readonly refused: number;
  /** How many gave what the whole file gives. */
  readonly harmless: number;
  /** The others: a wrong result, another code, an error without a code. */
  readonly wrong: readonly string[];
}

/** Reads `bytes` with each of its first `bits` flipped, all of them by default. */
export function readWithFlips(
  bytes: Uint8Array,
  read: (bytes: Uint8Array) => unknown,
  codes: RegExp,
  bits = 8 * bytes.length,
): Flips {
  const expected = read(bytes);
  let [refused, harmless] = [0, 0];
  const wrong: string[] = [];
  for (let bit = 0; bit < bits; bit += 1) {
    let result: unknown;
    const code = codeOf(() => {
      result = read(withBitFlipped(bytes, bit));
    });
    if (code === 'accept' && isDeepStrictEqual(result, expected)) harmless += 1;
    else if (codes.test(String(code))) refused += 1;
    else wrong.push(`bit ${bit}: ${code === 'accept' ? 'another result' : code}`);
  }
  return { refused, harmless, wrong };
}
