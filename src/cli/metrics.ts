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

/** Bytes. */
const longestLine = 2 ** 16;

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
      let size = 0;
      for await (const { text, end } of linesOf(file)) {
        const line = parseLine(text);
        if (line === undefined) continue;
        if (line.step > step) break;
        keep(line);
        size = end;
      }
      await file.truncate(size);
      return new MetricsFile(path, file, size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Appends a line. Lines go to the file at once, as many together as have come up meanwhile. */
  append(line: MetricsLine): void {
    this.#pending += `${JSON.stringify(line)}\n`;
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
      const full = await fullDiskError(this.#path, Buffer.byteLength(this.#pending), cause);
      throw full ?? systemError(`cannot write ${this.#path}`, cause);
    }
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#write(); // what could not be written before may be now
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
