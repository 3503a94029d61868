// Tests that the metrics of a resumed run are cut in place, however large the file is and whatever a crash left at
// its end.
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MetricsFile, type MetricsLine } from '../../src/cli/metrics.js';
import { onSmallDisk } from '../helpers/small-disk.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const folder = temporaryFolder('metrics');
const path = join(folder, 'metrics.jsonl');

/** `é` is two bytes, so that a piece of the file may end within one. */
const lineOf = (step: number) => `${JSON.stringify({ type: 'step', step, path: 'é'.repeat(step % 7) })}\n`;
const linesUpTo = (last: number) => Array.from({ length: last }, (_, i) => lineOf(i + 1)).join('');

/** Resumes after `step`. Returns the steps that are kept. */
async function resume(step: number): Promise<number[]> {
  const kept: MetricsLine[] = [];
  const metrics = await MetricsFile.open(path, step, (line) => kept.push(line));
  await metrics.close();
  return kept.map((line) => line.step);
}

describe('MetricsFile', () => {
  it('begins empty and appends', async () => {
    const metrics = await MetricsFile.open(path, 0);
    metrics.append({ type: 'step', step: 1 });
    await metrics.flush();
    await metrics.close();
    expect(readFileSync(path, 'utf8')).toBe('{"type":"step","step":1}\n');
  });

  it('keeps the file and its bytes up to the step, in pieces that end anywhere', async () => {
    writeFileSync(path, linesUpTo(20_000));
    const { ino } = statSync(path);
    expect(await resume(15_000)).toEqual(Array.from({ length: 15_000 }, (_, i) => i + 1));
    expect(readFileSync(path, 'utf8')).toBe(linesUpTo(15_000));
    expect(statSync(path).ino).toBe(ino);
  });

  it.each([
    ['half a line', '{"type":"st'],
    ['half a line that ends', '{"type":"st\n'],
    ['zeros', '\0'.repeat(5000)],
    ['more zeros than a line could have', '\0'.repeat(200_000)],
    ['a value of another kind', 'null\n3\n'],
  ])('cuts %s at the end and goes on there', async (_, torn) => {
    writeFileSync(path, linesUpTo(3) + torn);
    const metrics = await MetricsFile.open(path, 9);
    metrics.append({ type: 'step', step: 4 });
    await metrics.flush();
    await metrics.close();
    expect(readFileSync(path, 'utf8')).toBe(`${linesUpTo(3)}{"type":"step","step":4}\n`);
  });

  it('says which steps a run that goes on has no lines of', async () => {
    for (const [last, step, gap] of [
      [3, 3, undefined],
      [5, 3, undefined],
      [3, 5, { first: 4, last: 5 }],
      [0, 2, { first: 1, last: 2 }],
    ] as const) {
      writeFileSync(path, linesUpTo(last));
      const metrics = await MetricsFile.open(path, step);
      await metrics.close();
      expect([metrics.gap, metrics.missing]).toEqual([gap, undefined]);
    }
  });

  it('keeps what a full disk refuses, up to a bound, and says which steps are missing', ({ skip }) =>
    onSmallDisk(2 ** 16, skip, async (disk) => {
      const file = join(disk, 'metrics.jsonl');
      const metrics = await MetricsFile.open(file, 0);
      metrics.append({ type: 'step', step: 1 });
      await metrics.flush();
      expect(metrics.missing).toBeUndefined();
      // 20 MB in lines of 100 kB.
      const line = { type: 'step', path: 'x'.repeat(100_000) };
      for (let step = 2; step <= 4; step += 1) metrics.append({ ...line, step });
      await expect(metrics.flush()).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(metrics.missing).toEqual({ first: 2, last: 4 });
      for (let step = 5; step <= 200; step += 1) metrics.append({ ...line, step });
      await expect(metrics.flush()).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(metrics.missing).toEqual({ first: 2, last: 200 });
      expect(spawnSync('mount', ['-o', 'remount,size=64m', disk]).status).toBe(0);
      await metrics.flush();
      // Of the 200 those beyond the bound are lost.
      const last = Math.floor(2 ** 24 / (JSON.stringify({ ...line, step: 100 }).length + 1));
      const steps = readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((text) => JSON.parse(text).step as number);
      expect(steps.at(-1)).toBeGreaterThan(150);
      expect(steps.at(-1)! - (last + 1)).toBeLessThanOrEqual(1);
      expect(steps).toEqual(Array.from({ length: steps.length }, (_, i) => i + 1));
      expect(metrics.missing).toEqual({ first: steps.length + 1, last: 200 });
      await metrics.close();
    }));

  it('reads a file that no string could hold, and only as far as it is kept', async () => {
    writeFileSync(path, linesUpTo(10));
    truncateSync(path, 2 ** 30);
    expect(await resume(5)).toEqual([1, 2, 3, 4, 5]);
    expect(readFileSync(path, 'utf8')).toBe(linesUpTo(5));
  });
});
