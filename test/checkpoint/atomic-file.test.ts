// Makes every system call of writeFileAtomic fail in turn and tests that the old file stays.
import {
  chmod,
  mkdtemp,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AtomicFileHandle,
  type AtomicFileSystem,
  writeFileAtomic,
} from '../../src/checkpoint/atomic-file.js';
import { PixelCnnError } from '../../src/errors.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-atomic-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Faults {
  /** The number, from 0, of the call that fails with `code`. */
  failAt?: number;
  code?: string;
  /** The largest number of bytes that one write accepts. */
  shortWrite?: number;
}

/** Wraps the real file system so that its calls are recorded and fail as planned. */
function faultySystem(faults: Faults): { system: AtomicFileSystem; calls: string[] } {
  const calls: string[] = [];
  const step = (name: string) => {
    calls.push(name);
    if (calls.length - 1 !== faults.failAt) return;
    throw Object.assign(new Error(`injected in ${name}`), { code: faults.code ?? 'EIO' });
  };
  const wrap = (handle: Awaited<ReturnType<typeof open>>): AtomicFileHandle => ({
    async write(bytes, offset, length, position) {
      step('write');
      return handle.write(bytes, offset, Math.min(length, faults.shortWrite ?? length), position);
    },
    async stat() {
      step('fstat');
      return handle.stat();
    },
    async chmod(mode) {
      step('chmod');
      return handle.chmod(mode);
    },
    async sync() {
      step('sync');
      return handle.sync();
    },
    async close() {
      await handle.close();
      step('close');
    },
  });
  const system: AtomicFileSystem = {
    async open(path, flags, mode) {
      step(flags === 'wx' ? 'create' : 'open folder');
      return wrap(await open(path, flags, mode));
    },
    async stat(path) {
      step('stat');
      return stat(path);
    },
    async realpath(path) {
      step('realpath');
      return realpath(path);
    },
    async rename(from, to) {
      step('rename');
      return rename(from, to);
    },
    unlink,
  };
  return { system, calls };
}

const OLD = Buffer.from('the old checkpoint');
const NEW = Buffer.from('the new checkpoint, a little longer');

describe('writeFileAtomic', () => {
  it('creates and replaces', async () => {
    const path = join(folder, 'a.bin');
    await writeFileAtomic(path, OLD);
    expect(await readFile(path)).toEqual(OLD);
    await writeFileAtomic(path, NEW);
    expect(await readFile(path)).toEqual(NEW);
    await writeFileAtomic(path, new Uint8Array(0));
    expect((await stat(path)).size).toBe(0);
    expect(await readdir(folder)).toEqual(['a.bin']);
  });

  it('makes the calls of the save protocol in order', async () => {
    const path = join(folder, 'a.bin');
    await writeFile(path, OLD);
    const { system, calls } = faultySystem({ shortWrite: 20 });
    await writeFileAtomic(path, NEW, system);
    const order = 'realpath stat create chmod write write fstat sync close rename open folder sync close';
    expect(calls.join(' ')).toBe(order);
    expect(await readFile(path)).toEqual(NEW);
  });

  it('keeps the old file and leaves nothing behind, whichever call fails', async () => {
    const path = join(folder, 'a.bin');
    await writeFile(path, OLD);
    const { system: healthy, calls } = faultySystem({});
    await writeFileAtomic(path, NEW, healthy);
    const renamed = calls.indexOf('rename') + 1;
    for (let failAt = 0; failAt < calls.length; ++failAt) {
      await writeFile(path, OLD);
      const { system } = faultySystem({ failAt, code: 'ENOSPC' });
      const error = await writeFileAtomic(path, NEW, system).catch((thrown: unknown) => thrown);
      expect(error, calls[failAt]).toBeInstanceOf(PixelCnnError);
      expect((error as PixelCnnError).code).toBe('ENOSPC');
      expect((error as PixelCnnError).message).toContain(path);
      expect(await readFile(path), calls[failAt]).toEqual(failAt < renamed ? OLD : NEW);
      expect(await readdir(folder), calls[failAt]).toEqual(['a.bin']);
    }
    expect(calls.length).toBeGreaterThan(10);
  });

  it('does not take a write of 0 bytes or a wrong size for success', async () => {
    const path = join(folder, 'a.bin');
    await writeFile(path, OLD);
    await expect(writeFileAtomic(path, NEW, faultySystem({ shortWrite: 0 }).system)).rejects.toMatchObject({
      code: 'ERR_IO',
    });
    const { system } = faultySystem({});
    const liar: AtomicFileSystem = {
      ...system,
      open: async (name, flags, mode) => {
        const handle = await system.open(name, flags, mode);
        return { ...handle, write: async (_bytes, _offset, length) => ({ bytesWritten: length }) };
      },
    };
    await expect(writeFileAtomic(path, NEW, liar)).rejects.toMatchObject({ code: 'ERR_IO' });
    expect(await readFile(path)).toEqual(OLD);
    expect(await readdir(folder)).toEqual(['a.bin']);
  });

  it.skipIf(process.platform === 'win32')('keeps the mode and follows a symbolic link', async () => {
    const path = join(folder, 'a.bin');
    const link = join(folder, 'latest');
    await writeFile(path, OLD);
    await chmod(path, 0o604);
    await symlink('a.bin', link);
    await writeFileAtomic(link, NEW);
    expect(await readFile(path)).toEqual(NEW);
    expect((await stat(path)).mode & 0o777).toBe(0o604);
    expect((await readdir(folder)).sort()).toEqual(['a.bin', 'latest']);
  });

  it('refuses bad arguments and passes errno codes through', async () => {
    const write = writeFileAtomic as (path: unknown, bytes: unknown) => Promise<void>;
    await expect(write(3, OLD)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    await expect(write('', OLD)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    await expect(write('a\0b', OLD)).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    await expect(write(join(folder, 'x'), 'text')).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    await expect(write(join(folder, 'missing', 'x'), OLD)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(write(folder, OLD)).rejects.toMatchObject({ code: 'EISDIR' });
  });
});
