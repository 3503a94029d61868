// Tests saves that fail: ENOSPC and EIO at every call of a save in a running training, and a disk that is really
// full.
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../src/checkpoint/atomic-file.js';
import { MetricsFile, type MetricsLine } from '../../src/cli/metrics.js';
import { PixelCnnError } from '../../src/errors.js';
import { TestRandom } from '../helpers/random.js';
import { onSmallDisk } from '../helpers/small-disk.js';
import { inspectFolder, lossesOf, trainChild } from './kills.js';

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'pixelcnn-full-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe('training', () => {
  const steps = 40;
  const name = `step-${String(steps).padStart(8, '0')}.safetensors`;

  it.each(['ENOSPC', 'EIO'])(
    'goes on after %s at every call of a save',
    { timeout: 120_000 },
    async (code) => {
      const folder = join(root, code);
      const { lines, stderr, acknowledged, ...end } = await trainChild(folder, steps, {
        fault: { mode: 'fail', code },
      });
      expect([end.code, stderr]).toEqual([0, '']);
      const failed = lines.filter((line) => line.startsWith('failed'));
      // open, write, size, fsync, close, rename, and open, fsync, close of the folder; before them realpath and stat.
      const madeRoom = lines.filter((line) => line.startsWith('made room'));
      expect(failed.length + madeRoom.length).toBeGreaterThanOrEqual(9);
      // Only of a full disk can older checkpoints be the reason.
      expect(madeRoom.length > 0).toBe(code === 'ENOSPC');
      for (const line of failed) expect(line).toMatch(new RegExp(`^failed \\d+ ${code}$`));
      expect(acknowledged).toBe(steps);
      const state = await inspectFolder(folder);
      expect([lossesOf(state, steps), state.litter]).toEqual([[], []]);

      // The failures left no trace in the run: it ends as one without them.
      const healthy = join(root, `${code}-healthy`);
      expect((await trainChild(healthy, steps)).code).toBe(0);
      expect((await readFile(join(folder, name))).equals(await readFile(join(healthy, name)))).toBe(true);
    },
  );

  it.each([
    ['ENOSPC', ['waiting 3 ENOSPC']],
    ['EDQUOT', ['waiting 3 EDQUOT']],
    ['EIO', []],
  ] as const)('ends with a last word when its last save fails with %s', async (code, waiting) => {
    const end = await trainChild(join(root, `last-${code}`), 3, { fault: { mode: 'full', code } });
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/PixelCnnError.*steps 1 to 3 are lost: cannot save .*step-00000003/);
    expect(end.lines).toEqual(['ready', ...[1, 2, 3].map((step) => `failed ${step} ${code}`), ...waiting]);
  });
});

const tmpfsBytes = 2 ** 20;

describe('a full disk', () => {
  /** Saves 300 KB over 100 KB for every amount of free space in steps of 4 KiB. Returns what went wrong. */
  async function fill(disk: string, save: (path: string, bytes: Uint8Array) => Promise<void>) {
    const random = new TestRandom(5);
    const old = random.bytes(100_000);
    const fresh = random.bytes(300_000);
    const path = join(disk, 'checkpoint');
    const filler = join(disk, 'filler');
    const wrong: string[] = [];
    let [failures, successes] = [0, 0];
    for (let free = 0; free <= 320 * 1024; free += 4096) {
      await writeFile(path, old);
      await writeFile(filler, new Uint8Array(tmpfsBytes - 106_496 - free));
      const error = await save(path, fresh).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      const expected = error === undefined ? fresh : old;
      if (error === undefined) successes += 1;
      else if (error instanceof PixelCnnError && error.code === 'ENOSPC') failures += 1;
      else wrong.push(`${free} bytes free: ${error}`);
      if (!(await readFile(path)).equals(expected)) wrong.push(`${free} bytes free: the file is damaged`);
      const names = (await readdir(disk)).sort();
      if (names.join() !== 'checkpoint,filler') wrong.push(`${free} bytes free: ${names}`);
      await truncate(filler);
    }
    return { wrong, failures, successes };
  }

  const onTmpfs = (skip: (why: string) => never, body: (disk: string) => Promise<void>) =>
    onSmallDisk(tmpfsBytes, skip, body);

  it('keeps the old file whatever space is left, and says ENOSPC', ({ skip }) =>
    onTmpfs(skip, async (disk) => {
      const { wrong, failures, successes } = await fill(disk, writeFileAtomic);
      expect(wrong).toEqual([]);
      expect(failures).toBeGreaterThan(50);
      expect(successes).toBeGreaterThan(0);
    }));

  it('keeps lines of metrics until there is space, each of them once', ({ skip }) =>
    onTmpfs(skip, async (disk) => {
      const path = join(disk, 'metrics.jsonl');
      const metrics = await MetricsFile.open(path, 0);
      const lines: MetricsLine[] = [];
      const append = (count: number) => {
        for (let i = 0; i < count; i += 1) {
          lines.push({ type: 'step', step: lines.length + 1, bitsPerDim: 0.5 });
          metrics.append(lines.at(-1)!);
        }
      };
      append(10);
      await metrics.flush();
      await writeFile(join(disk, 'filler'), new Uint8Array(tmpfsBytes - 8192));
      append(1000);
      await expect(metrics.flush()).rejects.toMatchObject({ name: 'PixelCnnError', code: 'ENOSPC' });
      append(10);
      await expect(metrics.flush()).rejects.toMatchObject({ code: 'ENOSPC' });
      await rm(join(disk, 'filler'));
      await metrics.flush();
      append(10);
      await metrics.close();
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
      expect(await readFile(path, 'utf8')).toBe(text);
    }));

  it('would notice a writer that overwrites the file', ({ skip }) =>
    onTmpfs(skip, async (disk) => {
      const { wrong } = await fill(disk, (path, bytes) => writeFile(path, bytes));
      expect(wrong.join()).toContain('damaged');
    }));
});
