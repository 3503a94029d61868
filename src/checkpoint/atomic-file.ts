// Durable, atomic file writes: after a crash at any moment the file holds the old bytes or the new ones, whole.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { checkBytes } from '../data/check-bytes.js';
import { check, systemError } from '../errors.js';
import { show } from '../options.js';
import { fullDiskError } from './full-disk.js';

/** What writeFileAtomic needs of an open file; a FileHandle is one. */
export interface AtomicFileHandle {
  write(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesWritten: number }>;
  stat(): Promise<{ size: number }>;
  chmod(mode: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** The system calls of writeFileAtomic, so that tests can make any of them fail. */
export interface AtomicFileSystem {
  open(path: string, flags: string, mode?: number): Promise<AtomicFileHandle>;
  stat(path: string): Promise<{ mode: number }>;
  realpath(path: string): Promise<string>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
}

const NODE_FILE_SYSTEM: AtomicFileSystem = { open, stat, realpath, rename, unlink };
const DEFAULT_MODE = 0o666; // before umask
const WRITE_BYTES = 2 ** 26;
const TEMPORARY = /\.tmp-\d+-[0-9a-f]{12}$/;

/** The result of `call`, or undefined when the path does not exist. */
async function ifExists<Result>(call: Promise<Result>): Promise<Result | undefined> {
  try {
    return await call;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function writeAll(handle: AtomicFileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(WRITE_BYTES, bytes.length - at);
    const { bytesWritten } = await handle.write(bytes, at, length, at);
    if (!(bytesWritten > 0 && bytesWritten <= length))
      throw new Error(`wrote ${bytesWritten} of ${length} bytes at offset ${at}`);
    at += bytesWritten;
  }
  const { size } = await handle.stat();
  if (size !== bytes.length) throw new Error(`wrote ${bytes.length} bytes, the file has ${size}`);
}

/** Writes and syncs a new file at `path`; on failure it is closed and removed. */
async function writeNewFile(
  fileSystem: AtomicFileSystem,
  path: string,
  bytes: Uint8Array,
  mode: number | undefined,
): Promise<void> {
  const handle = await fileSystem.open(path, 'wx', mode ?? DEFAULT_MODE);
  try {
    try {
      if (mode !== undefined) await handle.chmod(mode); // umask would narrow it
      await writeAll(handle, bytes);
      await handle.sync(); // a failed fsync is never retried: the kernel may have dropped the pages
    } finally {
      await handle.close();
    }
  } catch (error) {
    await fileSystem.unlink(path).catch(() => undefined);
    throw error;
  }
}

async function syncFolder(fileSystem: AtomicFileSystem, folder: string): Promise<void> {
  if (process.platform === 'win32') return; // folders cannot be opened there
  const handle = await fileSystem.open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces the file at `path` by `bytes`: new file beside it (created exclusively), all bytes written and counted,
 * fsync, rename, fsync of the folder. When the promise resolves the bytes are durable. A symbolic link is followed,
 * the mode of an existing file is kept. Do not change `bytes` before the promise settles.
 *
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE, ERR_DETACHED; otherwise the errno of the failed
 * call (EACCES, EISDIR, …; ENOSPC and EDQUOT with the bytes that are missing) or ERR_IO. On every error up to the rename
 * the old file is untouched and nothing is left behind; if only the last fsync of the folder fails, the new bytes are in
 * place but may not survive a power cut.
 */
export async function writeFileAtomic(
  path: string,
  bytes: Uint8Array,
  fileSystem: AtomicFileSystem = NODE_FILE_SYSTEM,
): Promise<void> {
  check(typeof path === 'string', 'ERR_INVALID_ARG_TYPE', () => `path must be a string, got ${show(path)}`);
  check(path !== '' && !path.includes('\0'), 'ERR_INVALID_ARG_VALUE', () => {
    return `path must not be empty or contain NUL, got ${show(path)}`;
  });
  checkBytes(bytes, 'bytes');
  try {
    const target = (await ifExists(fileSystem.realpath(path))) ?? path;
    const mode = (await ifExists(fileSystem.stat(target)))?.mode;
    const temporary = temporaryName(target);
    await writeNewFile(fileSystem, temporary, bytes, mode === undefined ? undefined : mode & 0o777);
    try {
      await fileSystem.rename(temporary, target);
    } catch (error) {
      await fileSystem.unlink(temporary).catch(() => undefined);
      throw error;
    }
    await syncFolder(fileSystem, dirname(target));
  } catch (cause) {
    const full = await fullDiskError(path, bytes.length, cause);
    throw full ?? systemError(`cannot save ${path} (${bytes.length} bytes)`, cause);
  }
}

/** A new name beside `path` for a file that removeTemporaries may remove. */
export function temporaryName(path: string): string {
  const suffix = `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`;
  return join(dirname(path), `${basename(path).slice(0, 200)}${suffix}`);
}

/**
 * Removes what writes that a crash cut short left in `folder`. Only for a folder that nobody else writes to: a process
 * number in a name says little, since in a container every process may have the same one.
 * @throws the system's error of the failed call.
 */
export async function removeTemporaries(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (TEMPORARY.test(name)) await rm(join(folder, name), { force: true });
  }
}

/** Creates a folder and the folders above it, durably. @throws the system's error of the failed call. */
export async function makeFolder(path: string): Promise<void> {
  const topmost = await mkdir(path, { recursive: true });
  if (topmost === undefined) return;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    await syncFolder(NODE_FILE_SYSTEM, dirname(folder));
    if (folder === resolve(topmost) || folder === dirname(folder)) return;
  }
}
