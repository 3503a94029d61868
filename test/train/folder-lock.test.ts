// Tests the lock of a checkpoint folder: one run holds it, and it is free when that process is gone, however it
// ended.
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FolderLock } from '../../src/train/folder-lock.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-lock-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const path = () => join(folder, 'run.lock');
const owner = async () => JSON.parse(await readFile(path(), 'utf8')) as Record<string, unknown>;

/** Locks the folder in the name of another owner, `seconds` ago. */
async function lockAs(change: Record<string, unknown>, seconds = 0): Promise<void> {
  const lock = await FolderLock.acquire(folder);
  const text = JSON.stringify({ ...(await owner()), ...change });
  await lock.release();
  await writeFile(path(), text);
  await age(seconds);
}

/** Lets the lock look as if it had last been renewed `seconds` ago. */
async function age(seconds: number): Promise<void> {
  const time = new Date(Date.now() - seconds * 1000);
  await utimes(path(), time, time);
}

async function acquireAndRelease(): Promise<void> {
  const lock = await FolderLock.acquire(folder);
  await lock.release();
  expect(await readdir(folder)).toEqual([]);
}

const locked = { code: 'ERR_FOLDER_LOCKED', message: expect.stringContaining(`process ${process.pid}`) };

describe('FolderLock', () => {
  it('is held once, also within one process, and can be taken again', async () => {
    const lock = await FolderLock.acquire(folder);
    await expect(FolderLock.acquire(folder)).rejects.toMatchObject(locked);
    expect(await readdir(folder)).toEqual(['run.lock']);
    await lock.release();
    await acquireAndRelease();
  });

  it('is held by one of many that ask at once, also when a dead one holds it', async () => {
    // Often, since what is wrong with a takeover shows in one of four rounds.
    for (let round = 0; round < 60; round += 1) {
      const dead = round % 2 === 1;
      if (dead) await lockAs({ pid: 2 ** 30 });
      const tries = await Promise.allSettled(Array.from({ length: 16 }, () => FolderLock.acquire(folder)));
      const held = tries.filter((result) => result.status === 'fulfilled');
      expect(held).toHaveLength(1);
      await held[0]!.value.release();
      expect(await readdir(folder)).toEqual([]);
    }
  });

  it('of a process that was killed is free at once', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    await lockAs({ pid: child.pid, started: null });
    await expect(FolderLock.acquire(folder)).rejects.toMatchObject({ code: 'ERR_FOLDER_LOCKED' });
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('close', resolve));
    await acquireAndRelease();
  });

  it.runIf(process.platform === 'linux')(
    'of an earlier process with the number of a living one is free',
    async () => {
      await lockAs({ started: '1' });
      await acquireAndRelease();
    },
  );

  it('of another machine is held while it is renewed', async () => {
    await lockAs({ place: 'another machine' }, 30);
    await expect(FolderLock.acquire(folder)).rejects.toMatchObject({
      code: 'ERR_FOLDER_LOCKED',
      message: expect.stringContaining('another machine'),
      remedy: expect.stringContaining('60 s'),
    });
    await age(120);
    await acquireAndRelease();
  });

  it('that is damaged counts as of another machine', async () => {
    for (const text of ['', '{', 'null', '{"pid":-1}', '{"pid":"1","place":"x"}']) {
      await writeFile(path(), text);
      await expect(FolderLock.acquire(folder)).rejects.toMatchObject({ code: 'ERR_FOLDER_LOCKED' });
      await age(120);
      await acquireAndRelease();
    }
  });

  it('is not removed by one that lost it', async () => {
    const lock = await FolderLock.acquire(folder);
    await writeFile(path(), '{"pid":1,"place":"x"}');
    await lock.release();
    expect(await readFile(path(), 'utf8')).toBe('{"pid":1,"place":"x"}');
  });

  it('passes errno codes on', async () => {
    await expect(FolderLock.acquire(join(folder, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
