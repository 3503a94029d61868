// Tests how many fronts are submitted at once: few enough to abort soon, exact at frames, blocks wherever they are
// short enough.
import { describe, expect, it } from 'vitest';
import { frontSteps } from '../../src/program/front.js';
import { inFlightMilliseconds, mostMilliseconds, nextChunk, Wavefront } from '../../src/sample/chunks.js';
import { TestRandom } from '../helpers/random.js';

const mnist = new Wavefront({ pad: 3, slope: 4 }, 28, 28);
/** All of it took so long. */
const all = (milliseconds: number) => ({ fronts: 136, pixels: 784, milliseconds });

describe('the wavefront', () => {
  it.each([
    { pad: 3, h: 28, w: 28, steps: 136 },
    { pad: 0, h: 1, w: 1, steps: 1 },
    { pad: 0, h: 5, w: 3, steps: 7 },
    // Narrower than the slope: some fronts have no pixel.
    { pad: 3, h: 5, w: 1, steps: 17 },
    { pad: 3, h: 4, w: 3, steps: 15 },
    { pad: 2, h: 1, w: 9, steps: 9 },
  ])('has every pixel once: %o', ({ pad, h, w, steps }) => {
    const slope = pad + 1;
    const wavefront = new Wavefront({ pad, slope }, h, w);
    expect(wavefront.steps).toBe(steps);
    const rows = new Array<number>(steps).fill(0);
    for (let i = 0; i < h; i += 1) for (let j = 0; j < w; j += 1) rows[j + slope * i]! += 1;
    expect(rows.map((_, t) => wavefront.pixels(t, t + 1))).toEqual(rows);
    expect(wavefront.pixels(0, steps)).toBe(h * w);
  });

  it('counts a row that begins as several pixels for each of its own, where whole rows are computed', () => {
    const wavefront = new Wavefront({ pad: 3, slope: 28 }, 28, 28, true);
    expect([0, 1, 27, 28, 29].map((t) => wavefront.pixels(t, t + 1))).toEqual([85, 1, 1, 85, 1]);
    expect(wavefront.pixels(0, 784)).toBe(4 * 784);
    // After 27 fast fronts, those up to the next row are submitted, and that with which it begins is not.
    const timed = { fronts: 20, pixels: 20, milliseconds: 10 };
    expect(nextChunk(wavefront, 21, 784, 0, timed).to).toBe(28);
    expect(nextChunk(wavefront, 28, 784, 0, timed)).toMatchObject({ fronts: 1 });
  });
});

describe('a chunk', () => {
  it.each([
    // Nothing timed: a few single fronts.
    { from: 0, until: 136, block: 136, timed: undefined, chunk: { program: 'front', repeat: 4, to: 4 } },
    { from: 0, until: 3, block: 136, timed: undefined, chunk: { program: 'front', repeat: 3, to: 3 } },
    // The whole batch in one block where it is short enough, however short it is.
    { from: 0, until: 136, block: 136, timed: all(40), chunk: { program: 'block', repeat: 1, to: 136 } },
    { from: 0, until: 136, block: 136, timed: all(0.1), chunk: { program: 'block', repeat: 1, to: 136 } },
    // A bit too long: chunks of 25 ms. These 80 fronts have 476 of 784 rows, the next one has 6.
    { from: 0, until: 136, block: 136, timed: all(41), chunk: { program: 'front', repeat: 80, to: 80 } },
    // Far too long: one front at a time.
    { from: 0, until: 136, block: 136, timed: all(1e5), chunk: { program: 'front', repeat: 1, to: 1 } },
    // A device without blocks.
    { from: 0, until: 136, block: 0, timed: all(20), chunk: { program: 'front', repeat: 136, to: 136 } },
    // The rest of a batch: a block draws nothing beyond its end, but half of it at least is drawn.
    { from: 4, until: 136, block: 136, timed: all(30), chunk: { program: 'block', repeat: 1, to: 136 } },
    { from: 68, until: 136, block: 136, timed: all(30), chunk: { program: 'block', repeat: 1, to: 136 } },
    { from: 69, until: 136, block: 136, timed: all(30), chunk: { program: 'front', repeat: 67, to: 136 } },
    // Blocks of a part of the batch, as many as are short enough, and what is left of them.
    { from: 0, until: 136, block: 20, timed: all(10), chunk: { program: 'block', repeat: 7, to: 136 } },
    { from: 0, until: 136, block: 20, timed: all(80), chunk: { program: 'block', repeat: 3, to: 60 } },
    { from: 120, until: 136, block: 20, timed: all(10), chunk: { program: 'block', repeat: 1, to: 136 } },
    { from: 130, until: 136, block: 20, timed: all(10), chunk: { program: 'front', repeat: 6, to: 136 } },
    // A frame ends at its front: no block runs past it.
    { from: 0, until: 4, block: 136, timed: all(1), chunk: { program: 'front', repeat: 4, to: 4 } },
    { from: 40, until: 135, block: 136, timed: all(1), chunk: { program: 'front', repeat: 95, to: 135 } },
    { from: 0, until: 50, block: 20, timed: all(1), chunk: { program: 'block', repeat: 2, to: 40 } },
    { from: 40, until: 50, block: 20, timed: all(1), chunk: { program: 'front', repeat: 10, to: 50 } },
  ])('$from to $until, blocks of $block, $timed: $chunk', ({ from, until, block, timed, chunk }) => {
    expect(nextChunk(mnist, from, until, block, timed)).toMatchObject(chunk);
  });

  it('after the first fronts counts with rows, of which they have few', () => {
    // 4 fronts of a row each in 1 ms: if the rows take the time, the other 780 take 195 ms.
    const timed = { fronts: 4, pixels: 4, milliseconds: 1 };
    const chunk = nextChunk(mnist, 4, 136, 136, timed);
    expect(chunk.program).toBe('front');
    expect(chunk.pixels).toBeLessThanOrEqual(100);
    expect(nextChunk(mnist, chunk.to, 136, 136, { ...chunk, milliseconds: 2 }).program).toBe('block');
  });

  it('reaches the end, and no frame is passed, whatever was timed; no chunk of several takes too long, 400 cases', () => {
    const random = new TestRandom(3);
    for (let index = 0; index < 400; index += 1) {
      const pad = random.int(0, 3);
      const front = { pad, slope: pad + 1 };
      const [h, w] = [random.int(1, 30), random.int(1, 30)];
      const wavefront = new Wavefront(front, h, w);
      const steps = frontSteps(front, h, w);
      const frame = random.pick([steps, random.int(1, steps)]);
      const block = random.pick([0, steps, random.int(1, steps)]);
      // What a front and a row of this device take.
      const [perFront, perRow] = [
        random.uniform() * 10 ** random.int(-3, 2),
        random.uniform() * 10 ** random.int(-3, 2),
      ];
      let timed: Parameters<typeof nextChunk>[4];
      let drawn = 0;
      for (let from = 0; from < steps; ) {
        const until = Math.min(steps, from - (from % frame) + frame);
        const chunk = nextChunk(wavefront, from, until, block, timed);
        expect(chunk.to).toBeGreaterThan(from);
        expect(chunk.to).toBeLessThanOrEqual(until);
        expect(chunk.repeat * (chunk.program === 'block' ? block : 1)).toBe(chunk.fronts);
        if (chunk.to < steps) expect(chunk.fronts).toBe(chunk.to - from);
        expect(chunk.pixels).toBe(wavefront.pixels(from, chunk.to));
        const milliseconds = perFront * chunk.fronts + perRow * chunk.pixels;
        if (timed !== undefined) {
          expect(milliseconds).toBeLessThanOrEqual(chunk.milliseconds * (1 + 1e-12));
          if (chunk.fronts > 1) expect(milliseconds).toBeLessThanOrEqual(inFlightMilliseconds * (1 + 1e-12));
        }
        drawn += chunk.pixels;
        timed = { ...chunk, milliseconds };
        from = chunk.to;
      }
      expect(drawn).toBe(h * w);
    }
  });

  it('follows a device that becomes slower', () => {
    const fast = nextChunk(mnist, 0, 136, 136, all(20));
    expect(fast.program).toBe('block');
    expect(nextChunk(mnist, 0, 136, 136, { ...fast, milliseconds: 400 })).toMatchObject({ program: 'front' });
  });
});

describe('what work takes at most', () => {
  it.each([
    { timed: all(10), work: { fronts: 68, pixels: 784 }, most: 10 },
    { timed: all(10), work: { fronts: 272, pixels: 784 }, most: 20 },
    { timed: { fronts: 2, pixels: 0, milliseconds: 1 }, work: { fronts: 4, pixels: 0 }, most: 2 },
    {
      timed: { fronts: 2, pixels: 0, milliseconds: 1 },
      work: { fronts: 2, pixels: 1 },
      most: Number.POSITIVE_INFINITY,
    },
  ])('$work after $timed: $most ms', ({ timed, work, most }) => {
    expect(mostMilliseconds(timed, work)).toBe(most);
  });
});
