// metrics.jsonl: one JSON object per line, appended as the run goes, cut where a resumed run begins.
import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../checkpoint/atomic-file.js';

/** A line of the file; what else it has depends on its type. */
export interface MetricsLine {
  readonly type: string;
  readonly step: number;
  readonly bitsPerDim?: number | null;
}

export class MetricsFile {
  readonly #file: FileHandle;
  #pending = '';
  #writing: Promise<void> | undefined;
  #failure: unknown;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Opens the file; lines after `step`, written by a run that ended without a checkpoint, are removed. */
  static async open(path: string, step: number): Promise<{ metrics: MetricsFile; kept: MetricsLine[] }> {
    const kept = (await readMetrics(path)).filter((line) => line.step <= step);
    await writeFileAtomic(path, Buffer.from(kept.map((line) => `${JSON.stringify(line)}\n`).join('')));
    const file = await open(path, constants.O_WRONLY | constants.O_APPEND);
    return { metrics: new MetricsFile(file), kept };
  }

  /** Appends a line. Lines go to the file at once, as many together as have come up meanwhile. */
  append(line: MetricsLine): void {
    this.#pending += `${JSON.stringify(line)}\n`;
    this.#writing ??= this.#write();
  }

  /** Makes all lines durable. @throws the system's error of any write so far. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#file.datasync();
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }

  async #write(): Promise<void> {
    try {
      while (this.#pending !== '') {
        const text = this.#pending;
        this.#pending = '';
        await this.#file.writeFile(text);
      }
    } catch (error) {
      this.#failure ??= error;
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
