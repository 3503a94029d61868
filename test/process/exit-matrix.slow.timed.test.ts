// Tests that every way to end a process or a worker, during every kind of work, ends as it should.
// PIXELCNN_EXIT_REPETITIONS=20 repeats all of it; by default it runs once.
import { describe, expect, it } from 'vitest';
import { type ChildResult, runChild } from '../helpers/child.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const repetitions = Number(process.env.PIXELCNN_EXIT_REPETITIONS ?? 1);
const folder = temporaryFolder('exit');

const ways = {
  'event loop ends': { code: 0, signal: null },
  'process.exit': { code: 7, signal: null },
  'uncaught exception': { code: 1, signal: null },
  SIGTERM: { code: null, signal: 'SIGTERM' },
  'worker ends': { code: 0, signal: null },
  'worker.terminate': { code: 0, signal: null },
  'process.exit, worker busy': { code: 7, signal: null },
} as const;
const activities = ['idle', 'sample', 'likelihood', 'train', 'save', 'load'];

/** How much later than a process without the package one may end, in milliseconds. */
const limit = 2000;
const endings: number[] = [];

/** Milliseconds from the beginning of the end to the process being gone, which is now. */
const ending = ({ stdout }: ChildResult) => Date.now() - Number(/\d+/.exec(stdout)![0]);
const plantedEnd = (end: string) => runChild('process/children/planted-end.mjs', { args: [end] });

/** What a child must look like after its end. */
function judge({ code, signal, stdout, stderr }: ChildResult, expected: object, throws = false): void {
  expect({ code, signal, stdout: stdout.replace(/\d+/, 'N') }, stderr).toEqual({
    ...expected,
    stdout: 'leaving N\n',
  });
  if (throws) expect(stderr).toContain('Error: planted');
  else expect(stderr).toBe('');
  expect(stderr).not.toMatch(/mutex|terminate called|abort|assert|Segmentation/i);
}

async function leave(way: keyof typeof ways, activity: string): Promise<void> {
  const child = await runChild('process/children/exit.mjs', { args: [way, activity, folder] });
  judge(child, ways[way], way === 'uncaught exception');
  endings.push(ending(child));
}

describe.each(Object.keys(ways) as (keyof typeof ways)[])('%s', (way) => {
  it.each(activities)('%s', { timeout: 60_000 * repetitions }, async (activity) => {
    for (let round = 0; round < repetitions; round += 1) await leave(way, activity);
  });
});

describe('ends', () => {
  it(`at most ${limit} ms later than a process without the package`, async () => {
    const without: number[] = [];
    for (let i = 0; i < 10; i += 1) without.push(ending(await plantedEnd('well')));
    const allowed = limit + Math.max(...without);
    const sorted = endings.toSorted((a, b) => a - b);
    const [p50, max] = [sorted[Math.floor(sorted.length / 2)]!, sorted.at(-1)!];
    console.info(`${sorted.length} ends: p50 ${p50} ms, longest ${max} ms; allowed ${allowed} ms`);
    expect(sorted.length).toBe(repetitions * activities.length * Object.keys(ways).length);
    expect(max).toBeLessThanOrEqual(allowed);
    expect(ending(await plantedEnd('late')), 'planted: a late end is noticed').toBeGreaterThan(allowed);
  });

  it.each(['abort', 'complain', 'other code'])('planted: %s is noticed', async (plant) => {
    const child = await plantedEnd(plant);
    expect(() => judge(child, { code: 0, signal: null })).toThrow();
  });

  it('planted: a good one is not', async () => {
    const child = await plantedEnd('well');
    judge(child, { code: 0, signal: null });
  });
});

describe('workers', () => {
  it('100 that are terminated at random moments leave the process well', { timeout: 300_000 }, async () => {
    const seed = 1 + Math.floor(Math.random() * 2 ** 31);
    const child = await runChild('process/children/workers.mjs', {
      args: ['100', '4', String(seed)],
      timeout: 240_000,
    });
    const { code, signal, stderr } = child;
    expect({ code, signal, stderr }, `seed ${seed}`).toEqual({ code: 0, signal: null, stderr: '' });
    expect(JSON.parse(child.stdout), `seed ${seed}`).toEqual({ same: true, unexpected: [] });
  });
});
