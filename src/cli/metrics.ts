// metrics.jsonl: one JSON object per line, appended as the run goes, cut where a resumed run begins.
import { type FileHandle, open } from 'node:fs/promises';
import { writeFileAtomic } from '../checkpoint/atomic-file.js';
import { fullDiskError } from '../checkpoint/full-disk.js';
import { systemError } from '../errors.js';

/** A line of the file; what else it has depends on its type. */
export interface MetricsLine {
  readonly type: string;
  readonly step: number;
  readonly bitsPerDim?: number | null;
}

/** Steps, both included. */
export interface StepRange {
  readonly first: number;
  readonly last: number;
}

/** Bytes. */
const longestLine = 2 ** 16;
/** Characters of lines that wait for room on a full disk; what comes on top of them is lost. */
const mostWaiting = 2 ** 24;

export class MetricsFile {
  readonly #path: string;
  readonly #file: FileHandle;
  /** Steps up to that of {@link open} that the file should have lines of and has none: their disk was full. */
  readonly gap: StepRange | undefined;
  /** Bytes of whole lines in the file; what a failed write left after them is written over. */
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
   * Opens the file and tells `keep` its lines. Lines after `step`, written by a run that ended without a checkpoint,
   * are removed, and so is half a line that a crash left at the end.
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

  /** Appends a line. Lines go to the file at once, as many together as have come up meanwhile. */
  append(line: MetricsLine): void {
    const text = `${JSON.stringify(line)}\n`;
    if (this.#waiting + text.length > mostWaiting) {
      const { first } = this.#lost ?? { first: line.step };
      this.#lost = { first, last: line.step };
      return;
    }
    this.#pending.push({ text, step: line.step });
    this.#waiting += text.length;
    // What a full disk has refused is tried again at the next flush, not with every line.
    if (this.#failure === undefined) this.#writing ??= this.#write();
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
      const full = await fullDiskError(this.#path, this.#waiting, cause);
      throw full ?? systemError(`cannot write ${this.#path}`, cause);
    }
  }

  /** Steps whose lines are not in the file, not all at least, because they cannot be written; undefined while all goes well. */
  get missing(): StepRange | undefined {
    const waiting = this.#failure === undefined ? [] : this.#pending.map(({ step }) => step);
    const steps = [...waiting.slice(0, 1), ...waiting.slice(-1), ...Object.values(this.#lost ?? {})];
    return steps.length === 0 ? undefined : { first: Math.min(...steps), last: Math.max(...steps) };
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#write(); // what could not be written before may be now
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

/** The last step that a file of metrics tells of, 0 without any, and whether it tells of a checkpoint. */
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

/** The whole lines of a file and where each ends. A piece without end, longer than any line of ours, ends them. */
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

/** Undefined for what is no line of metrics: after a power cut a file may hold anything where nothing was durable. */
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
