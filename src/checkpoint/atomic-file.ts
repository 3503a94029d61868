// Writes files atomically: after a crash at any moment, a file holds either all old or all new bytes.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, realpath, rename, rm, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { checkBytes } from '../data/check-array.js';
import { check, systemError } from '../errors.js';
import { show } from '../show.js';
import { fullDiskError } from './full-disk.js';

/** The methods of an open file that writeFileAtomic calls. Node's FileHandle has them. */
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

/** The system calls of writeFileAtomic. Tests pass others, to make any of them fail. */
export interface AtomicFileSystem {
  open(path: string, flags: string, mode?: number): Promise<AtomicFileHandle>;
  stat(path: string): Promise<{ mode: number }>;
  realpath(path: string): Promise<string>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
}

const NODE_FILE_SYSTEM: AtomicFileSystem = { open, stat, realpath, rename, unlink };
const DEFAULT_MODE = 0o666; // the umask removes bits from it
const WRITE_BYTES = 2 ** 26;
const TEMPORARY = /\.tmp-\d+-[0-9a-f]{12}$/;

/** Returns the result of `call`, or undefined if the path does not exist. */
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

/** Writes a new file at `path` and syncs it to disk. On failure the file is closed and removed. */
async function writeNewFile(
  fileSystem: AtomicFileSystem,
  path: string,
  bytes: Uint8Array,
  mode: number | undefined,
): Promise<void> {
  const handle = await fileSystem.open(path, 'wx', mode ?? DEFAULT_MODE);
  try {
    try {
      if (mode !== undefined) await handle.chmod(mode); // `open` applied the umask to the mode
      await writeAll(handle, bytes);
      // A failed fsync must not be retried: the kernel may have dropped the pages, and a second call would
      // succeed.
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    await fileSystem.unlink(path).catch(() => undefined);
    throw error;
  }
}

async function syncFolder(fileSystem: AtomicFileSystem, folder: string): Promise<void> {
  if (process.platform === 'win32') return; // Windows cannot open folders
  const handle = await fileSystem.open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Replaces the content of the file at `path` by `bytes`. It writes a new file in the same folder, calls
 * fsync, renames the file to `path`, and calls fsync on the folder. Once the promise resolves, the bytes
 * survive a power cut. Symbolic links are followed, and the mode of an existing file is kept. `bytes` must
 * not change before the promise settles.
 *
 * If an error occurs before or in the rename, the old file is unchanged and the new one is removed. If only
 * the last fsync of the folder fails, the new bytes are in place but may not survive a power cut.
 * @throws PixelCnnError with the errno of the failed call, or ERR_IO. ENOSPC and EDQUOT say how many bytes
 * are missing.
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

/**
 * Returns a new name for a temporary file in the folder of `path`. removeTemporaries recognises such names.
 */
export function temporaryName(path: string): string {
  const suffix = `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`;
  return join(dirname(path), `${basename(path).slice(0, 200)}${suffix}`);
}

/**
 * Removes temporary files from `folder` that remained when a process crashed while writing. No other process
 * may be writing to the folder: the process number in a name cannot tell whether that process is still
 * running, because in containers many processes have the same number.
 */
export async function removeTemporaries(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (TEMPORARY.test(name)) await rm(join(folder, name), { force: true });
  }
}

/** Creates a folder and the missing folders above it, and syncs them to disk. */
export async function makeFolder(path: string): Promise<void> {
  const topmost = await mkdir(path, { recursive: true });
  if (topmost === undefined) return;
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    await syncFolder(NODE_FILE_SYSTEM, dirname(folder));
    if (folder === resolve(topmost) || folder === dirname(folder)) return;
  }
}
