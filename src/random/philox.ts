// Implements Philox4x32-10, the counter-based random generator of Salmon et al. 2011.
//
// native/ and cuda/ implement it too and give the same words, so that every backend draws the same numbers.
import { check, checkInteger } from '../errors.js';
import { show } from '../show.js';

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;
/**
 * The last counter word of the shuffle. Each use of a seed has another one, so that no two share random
 * words.
 */
const SHUFFLE_STREAM = 3;

/**
 * Returns the high word of the 64-bit product of two uint32. Every intermediate is below 2^53 and therefore
 * exact.
 */
function multiplyHigh(a: number, b: number): number {
  return Math.floor((a * (b >>> 16) + Math.floor((a * (b & 0xffff)) / 65536)) / 65536);
}

/**
 * Computes the four random uint32 of `counter` (4 words) under `key` (2 words), writes them to `out` and
 * returns it. Callers in a loop pass the same `out` each time to avoid allocations.
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

/**
 * Converts a random word to a float in [0, 1). It has 24 bits, so float32 holds it exactly on every backend.
 */
export function uniform(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

/** Returns the Philox key [low word, high word] of a seed: a bigint in [0, 2^64) or a safe integer >= 0. */
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
 * Shuffles 0…count-1 for one epoch. The result depends only on `count`, `seed` and `epoch`, each in [0, 2^32)
 * but the seed, which is as in {@link seedKey}. It is a Fisher-Yates shuffle from the end, in which place i
 * is swapped with place floor(word * (i + 1) / 2^32), where `word` is the first word of counter (i, 0, epoch,
 * 3).
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
