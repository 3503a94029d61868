// metrics.jsonl: one JSON object per line, appended as the run goes, cut where a resumed run begins.
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../checkpoint/atomic-file.js';
import { PixelCnnError } from '../errors.js';

/** A line of the file; what else it has depends on its type. */
export interface MetricsLine {
  readonly type: string;
  readonly step: number;
  readonly bitsPerDim?: number | null;
}

export class MetricsFile {
  readonly #path: string;
  readonly #file: FileHandle;
  /** Bytes of whole lines in the file; what a failed write left after them is written over. */
  #size: number;
  #pending = '';
  #writing: Promise<void> | undefined;
  #failure: unknown;

  private constructor(path: string, file: FileHandle, size: number) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
  }

  /** Opens the file; lines after `step`, written by a run that ended without a checkpoint, are removed. */
  static async open(path: string, step: number): Promise<{ metrics: MetricsFile; kept: MetricsLine[] }> {
    const kept = (await readMetrics(path)).filter((line) => line.step <= step);
    const bytes = Buffer.from(kept.map((line) => `${JSON.stringify(line)}\n`).join(''));
    await writeFileAtomic(path, bytes);
    return { metrics: new MetricsFile(path, await open(path, 'r+'), bytes.length), kept };
  }

  /** Appends a line. Lines go to the file at once, as many together as have come up meanwhile. */
  append(line: MetricsLine): void {
    this.#pending += `${JSON.stringify(line)}\n`;
    this.#writing ??= this.#write();
  }

  /**
   * Makes all lines durable, those included that could not be written before.
   * @throws PixelCnnError the errno of a failed call; the lines stay for a later flush.
   */
  async flush(): Promise<void> {
    await this.#writing;
    await this.#write();
    try {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#file.datasync();
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'ERR_IO';
      throw new PixelCnnError(code, `cannot write ${this.#path}: ${String(cause)}`, { cause });
    }
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }

  async #write(): Promise<void> {
    this.#failure = undefined;
    try {
      while (this.#pending !== '') {
        const text = this.#pending;
        const bytes = Buffer.from(text);
        for (let at = 0; at < bytes.length; ) {
          at += (await this.#file.write(bytes, at, bytes.length - at, this.#size + at)).bytesWritten;
        }
        this.#size += bytes.length;
        this.#pending = this.#pending.slice(text.length);
      }
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#writing = undefined;
    }
  }
}

/** The complete lines of a metrics file, or none without one. */
export async function readMetrics(path: string): Promise<MetricsLine[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return text.split('\n').flatMap((line) => {
    const value = parseLine(line);
    return value === undefined ? [] : [value];
  });
}

/** A crash may leave half a line at the end. */
function parseLine(line: string): MetricsLine | undefined {
  try {
    const value = JSON.parse(line) as Partial<MetricsLine> | null;
    return typeof value?.step === 'number' && typeof value.type === 'string'
      ? (value as MetricsLine)
      : undefined;
  } catch {
    return undefined;
  }
}
