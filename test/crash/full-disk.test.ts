// Saves that fail: ENOSPC and EIO at every call of a save in a running training, and a disk that is really full.
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../src/checkpoint/atomic-file.js';
import { MetricsFile, type MetricsLine } from '../../src/cli/metrics.js';
import { PixelCnnError } from '../../src/errors.js';
import { TestRandom } from '../helpers/random.js';
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
      expect(failed.length).toBeGreaterThanOrEqual(9);
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

  it('ends with the error when its last save fails', async () => {
    const end = await trainChild(join(root, 'last'), 3, { fault: { mode: 'full', code: 'ENOSPC' } });
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/PixelCnnError.*cannot save .*step-00000003/);
    expect(end.lines).toEqual(['ready', 'failed 1 ENOSPC', 'failed 2 ENOSPC', 'failed 3 ENOSPC']);
  });
});

const tmpfsBytes = 2 ** 20;

/** Mounts a small tmpfs, or says why that is not possible. */
function mountTmpfs(folder: string): string | undefined {
  const size = `size=${tmpfsBytes}`;
  const result = spawnSync('mount', ['-t', 'tmpfs', '-o', size, 'tmpfs', folder], { encoding: 'utf8' });
  return result.status === 0 ? undefined : (result.error?.message ?? result.stderr).trim();
}

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

  async function onTmpfs(skip: (why: string) => never, body: (disk: string) => Promise<void>): Promise<void> {
    const disk = await mkdtemp(join(root, 'disk-'));
    const reason = mountTmpfs(disk);
    if (reason !== undefined) {
      console.warn(`SKIPPED full disk: cannot mount a tmpfs: ${reason}`);
      skip(reason);
    }
    try {
      await body(disk);
    } finally {
      spawnSync('umount', [disk]);
    }
  }

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
