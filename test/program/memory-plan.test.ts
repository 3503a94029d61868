// Tests memory plans: tensors that live at the same time never share a block, whatever their sizes and lifetimes.
import { describe, expect, it } from 'vitest';
import { type Lifetime, planMemory } from '../../src/program/memory-plan.js';
import { type TestRandom, withSeed } from '../helpers/random.js';

/** Every pair of tensors that are live together and overlap in memory. */
function collisions(lifetimes: readonly Lifetime[], offsets: readonly number[]): [number, number][] {
  const found: [number, number][] = [];
  lifetimes.forEach((a, i) => {
    lifetimes.slice(0, i).forEach((b, j) => {
      const together = Math.max(a.first, b.first) <= Math.min(a.last, b.last);
      const shared =
        Math.min(offsets[i]! + a.blocks, offsets[j]! + b.blocks) - Math.max(offsets[i]!, offsets[j]!);
      if (together && shared > 0) found.push([j, i]);
    });
  });
  return found;
}

function randomLifetimes(random: TestRandom): Lifetime[] {
  const ops = random.int(1, 40);
  return Array.from({ length: random.int(0, 60) }, () => {
    const first = random.int(0, ops);
    const last = random.int(first, random.pick([first, ops]));
    return { first, last, blocks: random.pick([0, 1, 1, 2, 7, random.int(1, 1000)]) };
  });
}

describe('planMemory', () => {
  it('2,000 random programs: no overlap, nothing outside, no more than the sum, no less than the peak', async () => {
    await withSeed(1, (random, at) => {
      for (let index = 0; index < 2000; index += 1) {
        at(`program ${index}`);
        const lifetimes = randomLifetimes(random);
        const { offsets, blocks } = planMemory(lifetimes);
        expect(offsets.length).toBe(lifetimes.length);
        expect(collisions(lifetimes, offsets)).toEqual([]);
        const ends = lifetimes.map((lifetime, i) => offsets[i]! + lifetime.blocks);
        expect(Math.max(0, ...ends)).toBe(blocks);
        expect(Math.min(0, ...offsets)).toBe(0);
        const sum = lifetimes.reduce((total, lifetime) => total + lifetime.blocks, 0);
        const peak = Math.max(
          0,
          ...lifetimes.map(({ first: now }) =>
            lifetimes.reduce((total, { first, last, blocks: size }) => {
              return first <= now && now <= last ? total + size : total;
            }, 0),
          ),
        );
        expect(blocks).toBeLessThanOrEqual(sum);
        expect(blocks).toBeGreaterThanOrEqual(peak);
      }
    });
  });

  it('reuses the memory of a chain: two buffers serve any number of layers', () => {
    const lifetimes = Array.from({ length: 50 }, (_, i) => ({ blocks: 10, first: i, last: i + 1 }));
    expect(planMemory(lifetimes).blocks).toBe(20);
  });

  it('a planted overlap is caught', async () => {
    await withSeed(2, (random, at) => {
      let planted = 0;
      for (let index = 0; index < 300; index += 1) {
        at(`program ${index}`);
        const lifetimes = randomLifetimes(random);
        const offsets = [...planMemory(lifetimes).offsets];
        const i = random.int(0, Math.max(0, lifetimes.length - 1));
        const a = lifetimes[i];
        const j = lifetimes.findIndex((b, at2) => {
          return a !== undefined && at2 !== i && b.first <= a.last && a.first <= b.last && b.blocks > 0;
        });
        if (a === undefined || a.blocks === 0 || j < 0) continue;
        // The last block of one lies on the first of the other.
        offsets[i] = offsets[j]! - a.blocks + 1;
        planted += 1;
        expect(collisions(lifetimes, offsets)).toContainEqual([Math.min(i, j), Math.max(i, j)]);
      }
      expect(planted).toBeGreaterThan(150);
    });
  });
});
