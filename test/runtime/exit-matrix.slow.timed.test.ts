// The exit matrix: every way to end a process or a worker, during every kind of work, ends as it should.
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

/** Milliseconds from the beginning of the end to the process being gone, by what it was doing. */
const endings = new Map<string, number[]>(activities.map((activity) => [activity, []]));

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
  const child = await runChild('runtime/children/exit.mjs', { args: [way, activity, folder] });
  const now = Date.now();
  judge(child, ways[way], way === 'uncaught exception');
  endings.get(activity)!.push(now - Number(/\d+/.exec(child.stdout)![0]));
}

describe.each(Object.keys(ways) as (keyof typeof ways)[])('%s', (way) => {
  it.each(activities)('%s', { timeout: 60_000 * repetitions }, async (activity) => {
    for (let round = 0; round < repetitions; round += 1) await leave(way, activity);
  });
});

describe('ends', () => {
  it('at most 2 seconds later than a process that does nothing', () => {
    const [idle, all] = [endings.get('idle')!, [...endings.values()].flat().toSorted((a, b) => a - b)];
    const [p50, max] = [all[Math.floor(all.length / 2)]!, all.at(-1)!];
    console.info(`${all.length} ends: p50 ${p50} ms, longest ${max} ms; when idle ${Math.max(...idle)} ms`);
    expect(all.length).toBe(repetitions * activities.length * Object.keys(ways).length);
    expect(max).toBeLessThanOrEqual(2000 + Math.max(...idle));
  });

  it.each(['abort', 'complain', 'other code'])('planted: %s is noticed', async (plant) => {
    const child = await runChild('runtime/children/planted-end.mjs', { args: [plant] });
    expect(() => judge(child, { code: 0, signal: null })).toThrow();
  });

  it('planted: a good one is not', async () => {
    const child = await runChild('runtime/children/planted-end.mjs', { args: ['well'] });
    judge(child, { code: 0, signal: null });
  });
});

describe('workers', () => {
  it('100 that are terminated at random moments leave the process well', { timeout: 300_000 }, async () => {
    const seed = 1 + Math.floor(Math.random() * 2 ** 31);
    const child = await runChild('runtime/children/workers.mjs', {
      args: ['100', '4', String(seed)],
      timeout: 240_000,
    });
    const { code, signal, stderr } = child;
    expect({ code, signal, stderr }, `seed ${seed}`).toEqual({ code: 0, signal: null, stderr: '' });
    expect(JSON.parse(child.stdout), `seed ${seed}`).toEqual({ same: true, unexpected: [] });
  });
});
