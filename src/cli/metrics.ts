// Writes metrics.jsonl: one JSON object per line, appended during the run, cut where a resumed run begins.
import { type FileHandle, open } from 'node:fs/promises';
import { writeFileAtomic } from '../checkpoint/atomic-file.js';
import { fullDiskError } from '../checkpoint/full-disk.js';
import { systemError } from '../errors.js';

/** The fields of a line that are read back from the file. The other fields depend on its type. */
export interface MetricsLine {
  readonly type: string;
  readonly step: number;
  readonly bitsPerDim?: number | null;
}

/** A range of steps; `first` and `last` are included. */
export interface StepRange {
  readonly first: number;
  readonly last: number;
}

/** Most bytes of a line. */
const longestLine = 2 ** 16;
/** Most characters of lines that wait for space on a full disk; further lines are lost. */
const mostWaiting = 2 ** 24;

export class MetricsFile {
  readonly #path: string;
  readonly #file: FileHandle;
  /**
   * Steps up to that given to {@link open} whose lines are missing from the file, because the disk was full.
   */
  readonly gap: StepRange | undefined;
  /** Bytes of complete lines in the file. The next write overwrites what a failed one left after them. */
  #size: number;
  #pending: { readonly text: string; readonly step: number }[] = [];
  /** Characters in #pending. */
  #waiting = 0;
  #lost: StepRange | undefined;
  #writing: Promise<void> | undefined;
  #failure: unknown;

  private constructor(path: string, file: FileHandle, size: number, gap: StepRange | undefined) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
    this.gap = gap;
  }

  /**
   * Opens the file and passes its lines to `keep`. Removes lines after `step`, which a run wrote that ended
   * without a checkpoint of them, and an incomplete line that a crash left at the end.
   */
  static async open(
    path: string,
    step: number,
    keep: (line: MetricsLine) => void = () => undefined,
  ): Promise<MetricsFile> {
    const file = await openOrCreate(path);
    try {
      let [size, lastStep] = [0, 0];
      for await (const { text, end } of linesOf(file)) {
        const line = parseLine(text);
        if (line === undefined) continue;
        if (line.step > step) break;
        keep(line);
        size = end;
        if (line.type === 'step') lastStep = line.step;
      }
      await file.truncate(size);
      const gap = lastStep < step ? { first: lastStep + 1, last: step } : undefined;
      return new MetricsFile(path, file, size, gap);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * Appends a line. It is written at once, or together with others as soon as the write in progress has
   * ended.
   */
  append(line: MetricsLine): void {
    const text = `${JSON.stringify(line)}\n`;
    if (this.#waiting + text.length > mostWaiting) {
      const { first } = this.#lost ?? { first: line.step };
      this.#lost = { first, last: line.step };
      return;
    }
    this.#pending.push({ text, step: line.step });
    this.#waiting += text.length;
    // After a write that failed on a full disk, the next flush tries again, not every further line.
    if (this.#failure === undefined) this.#writing ??= this.#write();
  }

  /**
   * Makes all lines durable, including those that could not be written before. If it fails, the lines are
   * kept for a later flush.
   */
  async flush(): Promise<void> {
    await this.#writing;
    await this.#write();
    try {
      if (this.#failure !== undefined) throw this.#failure;
      await this.#file.datasync();
    } catch (cause) {
      const full = await fullDiskError(this.#path, this.#waiting, cause);
      throw full ?? systemError(`cannot write ${this.#path}`, cause);
    }
  }

  /** The range of steps with lines that could not be written; undefined if there are none. */
  get missing(): StepRange | undefined {
    const waiting = this.#failure === undefined ? [] : this.#pending.map(({ step }) => step);
    const steps = [...waiting.slice(0, 1), ...waiting.slice(-1), ...Object.values(this.#lost ?? {})];
    return steps.length === 0 ? undefined : { first: Math.min(...steps), last: Math.max(...steps) };
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#write(); // the disk may have space again
    await this.#file.close();
  }

  async #write(): Promise<void> {
    this.#failure = undefined;
    try {
      while (this.#pending.length > 0) {
        const lines = [...this.#pending];
        const text = lines.map((line) => line.text).join('');
        const bytes = Buffer.from(text);
        for (let at = 0; at < bytes.length; ) {
          at += (await this.#file.write(bytes, at, bytes.length - at, this.#size + at)).bytesWritten;
        }
        this.#size += bytes.length;
        this.#pending.splice(0, lines.length);
        this.#waiting -= text.length;
      }
    } catch (error) {
      this.#failure = error;
    } finally {
      this.#writing = undefined;
    }
  }
}

/** Finds the last step in a file of metrics (0 if there is none), and whether the run saved a checkpoint. */
export async function readMetrics(path: string): Promise<{ lastStep: number; saved: boolean }> {
  const found = { lastStep: 0, saved: false };
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  if (file === undefined) return found;
  try {
    for await (const { text } of linesOf(file)) {
      const { type, step } = parseLine(text) ?? { type: '', step: 0 };
      if (type === 'step') found.lastStep = step;
      if (type === 'checkpoint' || type === 'resume') found.saved = true;
    }
  } finally {
    await file.close();
  }
  return found;
}

async function openOrCreate(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await writeFileAtomic(path, new Uint8Array());
    return open(path, 'r+');
  }
}

/**
 * Yields the complete lines of a file and the position in bytes where each ends. It stops at text without a
 * line end that is longer than any line of metrics.
 */
async function* linesOf(file: FileHandle): AsyncGenerator<{ text: string; end: number }> {
  const buffer = Buffer.alloc(longestLine);
  let position = 0;
  for (let filled = 0; filled < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, position + filled);
    if (bytesRead === 0) return;
    const bytes = buffer.subarray(0, filled + bytesRead);
    let start = 0;
    for (let end = bytes.indexOf('\n'); end >= 0; end = bytes.indexOf('\n', start)) {
      yield { text: bytes.toString('utf8', start, end), end: position + end + 1 };
      start = end + 1;
    }
    position += start;
    filled = bytes.length - start;
    bytes.copyWithin(0, start);
  }
}

/**
 * Returns undefined if it is no line of metrics: after a power cut, the part that was not durable may hold anything.
 */
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
