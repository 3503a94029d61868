// A full disk: the error that says how many bytes are missing, and saving that waits until there is space.
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { PixelCnnError } from '../errors.js';
import { isError } from '../realm.js';

const fullDiskCodes = ['ENOSPC', 'EDQUOT'];

/** Milliseconds between two tries, between two words about them, and until there is no further try. */
const patience = { retry: 3000, tell: 60_000, end: 600_000 };

/** The disk is full or a quota is used up. */
export class FullDiskError extends PixelCnnError {
  readonly path: string;
  /** Size of the file. */
  readonly bytes: number;
  /** Undefined where it is not the disk's free space that is short, but a quota or the number of files. */
  readonly missing: number | undefined;

  constructor(path: string, bytes: number, missing: number | undefined, cause: NodeJS.ErrnoException) {
    const short = missing === undefined ? '' : `; ${bytesText(missing)} are missing on that disk`;
    super(cause.code!, `cannot save ${path} (${exactly(bytes)}): ${cause.message}${short}`, { cause });
    this.path = path;
    this.bytes = bytes;
    this.missing = missing;
  }
}

/** The error for a file of `bytes` bytes at `path` if a full disk is the cause, else undefined. */
export async function fullDiskError(
  path: string,
  bytes: number,
  cause: unknown,
): Promise<FullDiskError | undefined> {
  if (!isError(cause) || cause instanceof PixelCnnError) return undefined;
  const { code = '' }: NodeJS.ErrnoException = cause;
  if (!fullDiskCodes.includes(code)) return undefined;
  return new FullDiskError(path, bytes, await missingBytes(path, bytes), cause);
}

async function missingBytes(path: string, bytes: number): Promise<number | undefined> {
  const disk = await statfs(dirname(path)).catch(() => undefined);
  if (disk === undefined) return undefined;
  const missing = Math.ceil(bytes / disk.bsize) * disk.bsize - disk.bavail * disk.bsize;
  return missing > 0 ? missing : undefined;
}

const exactly = (bytes: number) => `${bytes.toLocaleString('en-US')} bytes`;

/** `812 bytes`, `4,212,345 bytes (4.2 MB)` */
export function bytesText(bytes: number): string {
  const units = ['MB', 'GB', 'TB'];
  const unit = Math.min(units.length, Math.floor(Math.log10(Math.max(bytes, 1)) / 3) - 1);
  if (unit < 1) return exactly(bytes);
  return `${exactly(bytes)} (${(bytes / 1000 ** (unit + 1)).toFixed(1)} ${units[unit - 1]})`;
}

/**
 * Saves; while the disk is full it tries again every few seconds, for ten minutes at most. `tell` is called at the first
 * failure and once a minute from then on. When `signal` is aborted, there is one last try.
 * @throws what `save` throws that is no {@link FullDiskError}, or the last one.
 */
export async function saveOrWait<Result>(
  save: () => Promise<Result>,
  options: { signal: AbortSignal; tell: (error: FullDiskError) => void; times?: typeof patience },
): Promise<Result> {
  const { signal, tell, times = patience } = options;
  const start = performance.now();
  let toldAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      return await save();
    } catch (error) {
      const now = performance.now();
      if (!(error instanceof FullDiskError) || signal.aborted || now - start >= times.end) throw error;
      if (now - toldAt >= times.tell) {
        toldAt = now;
        tell(error);
      }
    }
    await setTimeout(times.retry, undefined, { signal }).catch(() => undefined);
  }
}
