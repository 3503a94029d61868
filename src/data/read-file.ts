// Bounded reads of regular files: a folder, a pipe or a device is refused, and so is a file above the limit.
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

/**
 * The names in a folder, sorted by code units: the same order on every machine.
 * @throws PixelCnnError the errno of the failed call.
 */
export async function listFolder(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    throw systemError(`cannot read ${path}`, cause);
  }
}

/**
 * The first `length` bytes of a file and its size; undefined for what is no regular file, or a link to nothing.
 * @throws PixelCnnError the errno of the failed call.
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
    // A name that a folder lists and that opens nothing is a link to nothing.
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw systemError(`cannot read ${path}`, cause);
  }
}

/**
 * The bytes of a regular file, copied (never mapped: a mapped file that shrinks kills the process).
 * @throws PixelCnnError ERR_NOT_A_FILE, ERR_LIMIT (more than `maxBytes`, default 4 GiB - 1), ERR_IO, else the errno of
 * the failed call (ENOENT, EACCES, …).
 */
export async function readFileBounded(path: string, maxBytes: number = 2 ** 32 - 1): Promise<Uint8Array> {
  try {
    // Without O_NONBLOCK opening a pipe that nobody writes to would wait for ever.
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
