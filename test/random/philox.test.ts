// Tests Philox4x32-10 with the known answers of Random123, and the functions that are built on it.
import { describe, expect, it } from 'vitest';
import { permutation, philox, seedKey, uniform } from '../../src/random/philox.js';

const ONES = 0xffffffff;

describe('philox', () => {
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [ONES, ONES, ONES, ONES],
      [ONES, ONES],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('known answer %#', (counter, key, expected) => {
    expect(Array.from(philox(counter, key))).toEqual(expected);
  });

  it('writes into the array it is given', () => {
    const out = new Uint32Array(4);
    expect(philox([0, 0, 0, 0], [0, 0], out)).toBe(out);
    expect(out[0]).toBe(0x6627e8d5);
  });

  it('agrees with a BigInt version on random counters', () => {
    const mask = 0xffffffffn;
    const slow = (counter: number[], key: number[]) => {
      let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
      let [k, l] = key.map(BigInt) as [bigint, bigint];
      for (let round = 0; round < 10; ++round) {
        const [p, q] = [0xd2511f53n * a, 0xcd9e8d57n * c];
        [a, b, c, d] = [(q >> 32n) ^ b ^ k, q & mask, (p >> 32n) ^ d ^ l, p & mask];
        [k, l] = [(k + 0x9e3779b9n) & mask, (l + 0xbb67ae85n) & mask];
      }
      return [a, b, c, d].map(Number);
    };
    let words = [1, 2, 3, 4];
    for (let i = 0; i < 2000; ++i) {
      const key = [words[1] as number, words[2] as number];
      const next = Array.from(philox(words, key));
      expect(next).toEqual(slow(words, key));
      words = next;
    }
  });
});

describe('uniform', () => {
  it('has 24 bits and stays below 1', () => {
    expect(uniform(0)).toBe(0);
    expect(uniform(0xff)).toBe(0);
    expect(uniform(0x100)).toBe(2 ** -24);
    expect(uniform(ONES)).toBe(1 - 2 ** -24);
    expect(Math.fround(uniform(ONES))).toBe(uniform(ONES));
  });
});

describe('seedKey', () => {
  it('splits a seed into low and high word', () => {
    expect(seedKey(0)).toEqual([0, 0]);
    expect(seedKey(7n)).toEqual([7, 0]);
    expect(seedKey(Number.MAX_SAFE_INTEGER)).toEqual([0xffffffff, 0x1fffff]);
    expect(seedKey(2n ** 64n - 1n)).toEqual([0xffffffff, 0xffffffff]);
    expect(seedKey(-0)).toEqual([0, 0]);
  });

  it.each([-1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, -1n, 2n ** 64n])('refuses %s', (seed) => {
    expect(() => seedKey(seed)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
  });

  it.each(['3', null, undefined, true, {}])('refuses %s', (seed) => {
    const call = seedKey as (seed: unknown) => unknown;
    expect(() => call(seed)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }));
  });
});

describe('permutation', () => {
  it('is a permutation that depends on seed and epoch alone', () => {
    const order = permutation(1000, 42, 3);
    expect(Array.from(order).sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(permutation(1000, 42, 3)).toEqual(order);
    expect(permutation(1000, 42, 4)).not.toEqual(order);
    expect(permutation(1000, 43, 3)).not.toEqual(order);
  });

  it('draws place i from counter (i, 0, epoch, 3)', () => {
    const expected = [0, 1, 2, 3, 4];
    for (let i = 4; i > 0; --i) {
      const word = philox([i, 0, 9, 3], seedKey(5))[0] as number;
      const j = Number((BigInt(word) * BigInt(i + 1)) >> 32n);
      [expected[i], expected[j]] = [expected[j] as number, expected[i] as number];
    }
    expect(Array.from(permutation(5, 5, 9))).toEqual(expected);
  });

  it('is uniform over the 24 orders of 4 (chi-squared, 23 degrees of freedom)', () => {
    const draws = 24_000;
    const counts = new Map<string, number>();
    for (let epoch = 0; epoch < draws; ++epoch) {
      const order = permutation(4, 1, epoch).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    const expected = draws / 24;
    const squares = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(counts.size).toBe(24);
    expect(squares).toBeLessThan(49.7); // exceeded by chance with a probability of 0.001
  });

  it('takes 0 and 1 images and refuses bad counts', () => {
    expect(permutation(0, 1, 0).length).toBe(0);
    expect(Array.from(permutation(1, 1, 0))).toEqual([0]);
    for (const [count, epoch] of [
      [-1, 0],
      [1.5, 0],
      [3, -1],
      [3, 2 ** 32],
    ] as const) {
      expect(() => permutation(count, 0, epoch)).toThrow(
        expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }),
      );
    }
  });
});
