// Tests saving that waits for space, and the error for a full disk.
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeFileAtomic } from '../../src/checkpoint/atomic-file.js';
import { bytesText, FullDiskError, fullDiskError, saveOrWait } from '../../src/checkpoint/full-disk.js';
import { PixelCnnError } from '../../src/errors.js';
import { onSmallDisk } from '../helpers/small-disk.js';

const errno = (code: string) => Object.assign(new Error(`${code}: planted`), { code });
const full = new FullDiskError('a/b', 1000, 200, errno('ENOSPC'));
const times = { retry: 10, report: 40, end: 120 };

/** Returns a function that fails `failures` times before it saves. */
function failing(failures: number, error: Error = full) {
  let calls = 0;
  return {
    get calls() {
      return calls;
    },
    save: async () => {
      calls += 1;
      if (calls <= failures) throw error;
      return 'saved';
    },
  };
}

describe('saveOrWait', () => {
  const signal = new AbortController().signal;

  it('tries again until there is space, and tells of it rarely', async () => {
    const told: FullDiskError[] = [];
    const disk = failing(8);
    expect(await saveOrWait(disk.save, { signal, report: (error) => told.push(error), times })).toBe('saved');
    expect(disk.calls).toBe(9);
    expect(told.length).toBeGreaterThanOrEqual(1);
    expect(told.length).toBeLessThanOrEqual(4);
  });

  it('gives up in the end, with the error of the last try', async () => {
    const start = performance.now();
    const waiting = saveOrWait(failing(1e9).save, { signal, report: () => undefined, times });
    await expect(waiting).rejects.toBe(full);
    expect(performance.now() - start).toBeGreaterThanOrEqual(times.end);
  });

  it('tries once more when it is told to end, then ends at once', async () => {
    for (const [failures, expected] of [
      [1, 'saved'],
      [2, full],
    ] as const) {
      const controller = new AbortController();
      const disk = failing(failures);
      const options = { signal: controller.signal, report: () => controller.abort() };
      // With the default times, this would take seconds if the signal did not end the waiting.
      const start = performance.now();
      expect(await saveOrWait(disk.save, options).catch((error: unknown) => error)).toBe(expected);
      expect(disk.calls).toBe(2);
      expect(performance.now() - start).toBeLessThan(2000);
    }
  });

  it('does not wait for what is no full disk', async () => {
    const disk = failing(1, new PixelCnnError('EIO', 'broken'));
    await expect(saveOrWait(disk.save, { signal, report: () => undefined, times })).rejects.toThrow('broken');
    expect(disk.calls).toBe(1);
  });
});

describe('the error of a full disk', () => {
  it('is one of ENOSPC and EDQUOT only', async () => {
    for (const code of ['ENOSPC', 'EDQUOT'])
      expect(await fullDiskError('x', 1, errno(code))).toMatchObject({ name: 'PixelCnnError', code });
    for (const cause of [errno('EIO'), new Error('no code'), 'text', full])
      expect(await fullDiskError('x', 1, cause)).toBeUndefined();
  });

  it('says what is missing only where it is space', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pixelcnn-space-'));
    try {
      const { bavail, bsize } = await statfs(folder);
      const fits = await fullDiskError(join(folder, 'x'), bsize, errno('EDQUOT'));
      expect(fits).toMatchObject({ missing: undefined, message: expect.not.stringContaining('missing') });
      const tooLarge = await fullDiskError(join(folder, 'x'), 2 * bavail * bsize, errno('ENOSPC'));
      expect(tooLarge?.missing).toBeGreaterThan(0.5 * bavail * bsize);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('names the bytes that a really full disk has too few', ({ skip }) =>
    onSmallDisk(2 ** 20, skip, async (disk) => {
      await writeFile(join(disk, 'filler'), new Uint8Array(2 ** 20 - 3 * 4096));
      const save = writeFileAtomic(join(disk, 'model'), new Uint8Array(10 * 4096 - 5));
      await expect(save).rejects.toMatchObject({
        code: 'ENOSPC',
        bytes: 10 * 4096 - 5,
        missing: 7 * 4096,
        message: expect.stringContaining('28,672 bytes are missing on that disk'),
      });
    }));

  it('writes sizes as people read them', () => {
    expect([812, 999_999, 4_212_345, 12e9, 3e15].map(bytesText)).toEqual([
      '812 bytes',
      '999,999 bytes',
      '4,212,345 bytes (4.2 MB)',
      '12,000,000,000 bytes (12.0 GB)',
      '3,000,000,000,000,000 bytes (3000.0 TB)',
    ]);
  });
});
