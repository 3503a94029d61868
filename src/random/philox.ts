// Philox4x32-10, the counter-based random generator of Salmon et al. 2011: same words here, in C++ and in CUDA.
import { checkInteger } from '../data/check-bytes.js';
import { check } from '../errors.js';
import { show } from '../options.js';

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;
/** Last counter word of the shuffle, so that it shares no random word with other uses of a seed. */
const SHUFFLE_STREAM = 3;

/** High word of the 64-bit product of two uint32; every intermediate stays below 2^53. */
function multiplyHigh(a: number, b: number): number {
  return Math.floor((a * (b >>> 16) + Math.floor((a * (b & 0xffff)) / 65536)) / 65536);
}

/**
 * The four random uint32 of `counter` (4 words) under `key` (2 words), written to `out` and returned.
 * Give the same `out` every time to allocate nothing.
 */
export function philox(
  counter: ArrayLike<number>,
  key: ArrayLike<number>,
  out: Uint32Array = new Uint32Array(4),
): Uint32Array {
  let c0 = (counter[0] as number) >>> 0;
  let c1 = (counter[1] as number) >>> 0;
  let c2 = (counter[2] as number) >>> 0;
  let c3 = (counter[3] as number) >>> 0;
  let k0 = (key[0] as number) >>> 0;
  let k1 = (key[1] as number) >>> 0;
  for (let round = 0; round < ROUNDS; ++round) {
    const high0 = multiplyHigh(c0, MULTIPLIER_0);
    const low0 = Math.imul(c0, MULTIPLIER_0) >>> 0;
    const high1 = multiplyHigh(c2, MULTIPLIER_1);
    const low1 = Math.imul(c2, MULTIPLIER_1) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
  return out;
}

/** A random word as a float in [0, 1) with 24 bits: exact in float32, the same on every backend. */
export function uniform(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/**
 * The Philox key [low word, high word] of a seed in [0, 2^64).
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE (not a number or bigint), ERR_OUT_OF_RANGE (a number must be a safe
 * integer).
 */
export function seedKey(seed: number | bigint): [number, number] {
  const value: unknown = seed;
  check(typeof value === 'number' || typeof value === 'bigint', 'ERR_INVALID_ARG_TYPE', () => {
    return `seed must be a number or bigint, got ${show(value)}`;
  });
  const valid =
    typeof value === 'bigint' ? value >= 0n && value < 2n ** 64n : Number.isSafeInteger(value) && value >= 0;
  check(valid, 'ERR_OUT_OF_RANGE', () => {
    return `seed must be a safe integer >= 0 or a bigint in [0, 2^64), got ${show(value)}`;
  });
  const word = BigInt(value);
  return [Number(word & 0xffffffffn), Number(word >> 32n)];
}

/**
 * A random order of 0…count-1 for one epoch: Fisher-Yates from the end, where place i draws
 * floor(word · (i+1) / 2^32) from counter (i, 0, epoch, 3). Depends on (count, seed, epoch) alone.
 * @throws PixelCnnError ERR_OUT_OF_RANGE (count in [0, 2^32), epoch in [0, 2^32), seed as in seedKey),
 * ERR_INVALID_ARG_TYPE.
 */
export function permutation(count: number, seed: number | bigint, epoch: number): Uint32Array {
  const length = checkInteger(count, 'count', 0, 2 ** 32 - 1);
  const key = seedKey(seed);
  const counter = [0, 0, checkInteger(epoch, 'epoch', 0, 2 ** 32 - 1), SHUFFLE_STREAM];
  const words = new Uint32Array(4);
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; --i) {
    counter[0] = i;
    philox(counter, key, words);
    const j = multiplyHigh(words[0] as number, i + 1);
    const swap = order[i] as number;
    order[i] = order[j] as number;
    order[j] = swap;
  }
  return order;
}
