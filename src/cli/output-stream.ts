// Writes to stdout and stderr. A stream that fails is no longer written to, and the command goes on without it.
import { closeSync, fstatSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';

/** Most bytes that may wait for a slow reader. Further lines are left out, so that memory stays bounded. */
const longestQueue = 2 ** 24;

/** Says why output did not reach its reader. */
export interface OutputLoss {
  /** Code of the system's error, e.g. ENOSPC or EPIPE, or ERR_SLOW_READER for lines that were left out. */
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

  /** Writes complete lines, unless the stream has failed before. */
  write(text: string): void {
    if (this.#failure !== undefined) return;
    if (this.#stream.writableLength > longestQueue) {
      this.#leftOut += 1;
      return;
    }
    try {
      // Node would ignore that a nearly full disk takes only a part of a write to a file.
      if (this.#synchronous) writeWhole(this.#descriptor, text);
      else this.#stream.write(text);
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException);
    }
  }

  /** Resolves when everything written has reached its reader, or the stream has failed. */
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

/**
 * Closes terminals that are gone. Call it before the process ends: Node aborts when it cannot restore the settings
 * of a terminal, but skips one that is closed.
 */
export function leaveLostTerminals(): void {
  for (const descriptor of terminals) if (!isatty(descriptor)) closeSync(descriptor);
}

export const stdout = new OutputStream('stdout', 1, process.stdout);
export const stderr = new OutputStream('stderr', 2, process.stderr);
