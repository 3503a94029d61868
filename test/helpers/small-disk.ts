// Makes a small file system that a test can fill, mounted where that is allowed.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skipAloud } from './skip.js';

/** Runs `body` on a tmpfs of `bytes` bytes, or skips the test aloud. */
export async function onSmallDisk(
  bytes: number,
  skip: (why: string) => never,
  body: (disk: string) => Promise<void>,
): Promise<void> {
  const disk = await mkdtemp(join(tmpdir(), 'pixelcnn-disk-'));
  const arguments_ = ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', disk];
  const mounted = spawnSync('mount', arguments_, { encoding: 'utf8' });
  try {
    if (mounted.status !== 0) {
      const reason = `cannot mount a tmpfs: ${(mounted.error?.message ?? mounted.stderr).trim()}`;
      skipAloud('a full disk', reason);
      skip(reason);
    }
    await body(disk);
  } finally {
    if (mounted.status === 0) spawnSync('umount', ['-l', disk]);
    await rm(disk, { recursive: true, force: true });
  }
}
