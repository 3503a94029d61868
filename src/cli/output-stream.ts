// stdout and stderr as commands write them: a stream that fails goes silent, and nothing ends because of it.
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';

/** Bytes that may wait for a slow reader. What comes while more are waiting is left out, so that memory stays bounded. */
const longestQueue = 2 ** 24;

/** Why not everything has reached its reader. */
export interface OutputLoss {
  /** Of the system's error, e.g. ENOSPC or EPIPE; ERR_SLOW_READER for lines that were left out. */
  readonly code: string;
  readonly sentence: string;
}

export class OutputStream {
  readonly #name: string;
  readonly #descriptor: number;
  readonly #stream: NodeJS.WriteStream;
  readonly #synchronous: boolean;
  #failure: NodeJS.ErrnoException | undefined;
  #leftOut = 0;

  constructor(name: string, descriptor: number, stream: NodeJS.WriteStream) {
    this.#name = name;
    this.#descriptor = descriptor;
    this.#stream = stream;
    this.#synchronous = stream.isTTY !== true && !isPipe(descriptor);
    stream.on('error', (error) => this.#fail(error));
  }

  /** Writes whole lines, unless the stream has failed before. */
  write(text: string): void {
    if (this.#failure !== undefined) return;
    if (this.#stream.writableLength > longestQueue) {
      this.#leftOut += 1;
      return;
    }
    try {
      // Node ignores that a nearly full disk takes only a part of what is written to a file.
      if (this.#synchronous) writeWhole(this.#descriptor, text);
      else this.#stream.write(text);
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException);
    }
  }

  /** Resolves when all that was written has reached its reader or the stream has failed. */
  async flush(): Promise<void> {
    if (this.#failure !== undefined || this.#synchronous) return;
    await new Promise<void>((resolve) => this.#stream.write('', () => resolve()));
  }

  get loss(): OutputLoss | undefined {
    if (this.#failure !== undefined) {
      const { code = 'ERR_IO', message } = this.#failure;
      const sentence =
        code === 'EPIPE'
          ? `the reader of ${this.#name} went away`
          : `cannot write to ${this.#name}: ${message}`;
      return { code, sentence };
    }
    if (this.#leftOut === 0) return undefined;
    const sentence = `the reader of ${this.#name} is too slow: ${this.#leftOut} lines were left out`;
    return { code: 'ERR_SLOW_READER', sentence };
  }

  #fail(error: NodeJS.ErrnoException): void {
    this.#failure ??= error;
  }
}

function isPipe(descriptor: number): boolean {
  const status = fstatSync(descriptor);
  return status.isFIFO() || status.isSocket();
}

function writeWhole(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
}

const terminals = [0, 1, 2].filter(isatty);

/** Before the process ends: Node aborts when it cannot put back the settings of a terminal, but not of a closed file. */
export function leaveLostTerminals(): void {
  for (const descriptor of terminals) if (!isatty(descriptor)) closeSync(descriptor);
}

export const stdout = new OutputStream('stdout', 1, process.stdout);
export const stderr = new OutputStream('stderr', 2, process.stderr);
