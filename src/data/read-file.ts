// Reads regular files up to a size limit. Refuses folders, pipes and devices, which could block or never end.
import { constants, type FileHandle, open, readdir } from 'node:fs/promises';
import { check, systemError } from '../errors.js';
import { errorCode } from '../realm.js';

const READ_BYTES = 2 ** 26;

async function readAll(handle: FileHandle, path: string, maxBytes: number): Promise<Uint8Array> {
  const stats = await handle.stat();
  check(stats.isFile(), 'ERR_NOT_A_FILE', () => `${path} is not a regular file`);
  check(stats.size <= maxBytes, 'ERR_LIMIT', () => `${path} has ${stats.size} bytes, limit ${maxBytes}`);
  const bytes = new Uint8Array(stats.size);
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(READ_BYTES, bytes.length - at), at);
    check(
      bytesRead > 0,
      'ERR_IO',
      () => `${path} shrank to ${at} of ${bytes.length} bytes while it was read`,
    );
    at += bytesRead;
  }
  return bytes;
}

/** Lists the names in a folder, sorted by code units, which gives the same order on every machine. */
export async function listFolder(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    throw systemError(`cannot read ${path}`, cause);
  }
}

/**
 * Reads the first `length` bytes of a file and its size in bytes. Returns undefined if it is no regular file
 * or a symbolic link whose target is missing.
 */
export async function readFileStart(
  path: string,
  length: number,
): Promise<{ start: Uint8Array; size: number } | undefined> {
  try {
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) return undefined;
      const { bytesRead, buffer } = await handle.read(new Uint8Array(length), 0, length, 0);
      return { start: buffer.subarray(0, bytesRead), size: stats.size };
    } finally {
      await handle.close();
    }
  } catch (cause) {
    // The name was listed in a folder, so what is missing is the target of a symbolic link.
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw systemError(`cannot read ${path}`, cause);
  }
}

/**
 * Reads a regular file of at most `maxBytes` (default 4 GiB - 1). The bytes are copied and not mapped into
 * memory, because a mapped file that shrinks kills the process.
 */
export async function readFileBounded(path: string, maxBytes: number = 2 ** 32 - 1): Promise<Uint8Array> {
  try {
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait forever.
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      return await readAll(handle, path, maxBytes);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw systemError(`cannot read ${path}`, cause);
  }
}
