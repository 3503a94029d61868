// Describes a full disk in an error, and saves files as soon as there is space again.
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { PixelCnnError } from '../errors.js';
import { isError } from '../realm.js';

const fullDiskCodes = ['ENOSPC', 'EDQUOT'];

/**
 * Times in milliseconds: between two attempts, between two reports about them, and until the last attempt.
 */
const waitTimes = { retry: 3000, report: 60_000, end: 600_000 };

/** The error for a file that cannot be saved because the disk is full or a quota is used up. */
export class FullDiskError extends PixelCnnError {
  readonly path: string;
  /** Size of the file in bytes. */
  readonly bytes: number;
  /**
   * Missing bytes. Undefined if the disk has enough free space, and a quota or the number of files is
   * exceeded.
   */
  readonly missing: number | undefined;

  constructor(path: string, bytes: number, missing: number | undefined, cause: NodeJS.ErrnoException) {
    const short = missing === undefined ? '' : `; ${bytesText(missing)} are missing on that disk`;
    super(cause.code!, `cannot save ${path} (${exactly(bytes)}): ${cause.message}${short}`, { cause });
    this.path = path;
    this.bytes = bytes;
    this.missing = missing;
  }
}

/**
 * Creates the error for a file of `bytes` bytes at `path` if a full disk is the cause; otherwise returns
 * undefined.
 */
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

/** Writes a number of bytes, as in `812 bytes` or `4,212,345 bytes (4.2 MB)`. */
export function bytesText(bytes: number): string {
  const units = ['MB', 'GB', 'TB'];
  const unit = Math.min(units.length, Math.floor(Math.log10(Math.max(bytes, 1)) / 3) - 1);
  if (unit < 1) return exactly(bytes);
  return `${exactly(bytes)} (${(bytes / 1000 ** (unit + 1)).toFixed(1)} ${units[unit - 1]})`;
}

/**
 * Calls `save`. While the disk is full, it calls it again every three seconds, for at most ten minutes.
 * `report` is called at the first failure and then once a minute. If `signal` is aborted, there is one last
 * attempt.
 * @throws the last {@link FullDiskError}, or at once any other error of `save`.
 */
export async function saveOrWait<Result>(
  save: () => Promise<Result>,
  options: { signal: AbortSignal; report: (error: FullDiskError) => void; times?: typeof waitTimes },
): Promise<Result> {
  const { signal, report, times = waitTimes } = options;
  const start = performance.now();
  let reportedAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      return await save();
    } catch (error) {
      const now = performance.now();
      if (!(error instanceof FullDiskError) || signal.aborted || now - start >= times.end) throw error;
      if (now - reportedAt >= times.report) {
        reportedAt = now;
        report(error);
      }
    }
    await setTimeout(times.retry, undefined, { signal }).catch(() => undefined);
  }
}
