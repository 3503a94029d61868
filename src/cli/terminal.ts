// Prints for the command line: results on stdout; notes and one line that changes in place on stderr.
import { styleText } from 'node:util';
import { stderr, stdout } from './output-stream.js';

export type Style = Parameters<typeof styleText>[0];

/** Whether to print colours: FORCE_COLOR and NO_COLOR decide, else whether the stream is a terminal. */
function hasColour(stream: NodeJS.WriteStream): boolean {
  const { FORCE_COLOR, NO_COLOR, TERM } = process.env;
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false';
  return stream.isTTY === true && !NO_COLOR && TERM !== 'dumb';
}

export function paint(stream: NodeJS.WriteStream, style: Style, text: string): string {
  return hasColour(stream) ? styleText(style, text, { validateStream: false }) : text;
}

const clearLine = '\r\u001b[2K';
/** Fewest milliseconds between two updates of the live line: at most 20 a second. */
const liveInterval = 50;

export class Terminal {
  /** Whether to print JSON lines on stdout, and only errors on stderr. */
  readonly json: boolean;
  readonly #quiet: boolean;
  #liveShown = false;
  #liveAt = 0;

  constructor(options: { json?: boolean | undefined; quiet?: boolean | undefined }) {
    this.json = options.json === true;
    this.#quiet = this.json || options.quiet === true;
  }

  /** Whether {@link live} has a terminal to draw on. */
  get interactive(): boolean {
    return !this.#quiet && process.stderr.isTTY === true;
  }

  /** Prints a line for the user on stderr, unless --quiet or --json is given. */
  note(text: string, style?: Style): void {
    if (!this.#quiet) this.#line(text, style);
  }

  /**
   * Prints a line about something that goes wrong while the work goes on, on stderr even with --quiet or
   * --json.
   */
  problem(text: string): void {
    this.#line(text, 'yellow');
  }

  #line(text: string, style: Style | undefined): void {
    this.clear();
    stderr.write(`${style === undefined ? text : paint(process.stderr, style, text)}\n`);
  }

  /** Updates the line that changes in place, unless that was done a moment ago. */
  live(text: string): void {
    const now = performance.now();
    if (!this.interactive || now - this.#liveAt < liveInterval) return;
    this.#liveAt = now;
    this.#liveShown = true;
    stderr.write(clearLine + text.slice(0, Math.max(20, (process.stderr.columns || 80) - 1)));
  }

  /** Removes the line that changes in place. */
  clear(): void {
    if (this.#liveShown) stderr.write(clearLine);
    this.#liveShown = false;
    this.#liveAt = 0;
  }

  /** Prints the result on stdout: `text` or, with --json, `record` as one line of JSON. */
  result(text: string, record: object): void {
    this.clear();
    if (this.json) this.record(record);
    else stdout.write(`${text}\n`);
  }

  /** Prints one line of JSON on stdout if --json is given. */
  record(record: object): void {
    if (this.json) stdout.write(`${JSON.stringify(record)}\n`);
  }
}

/** Writes an integer as `1,234,567`. */
export function thousands(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** Writes a time as `80 ms`, `42 s`, `3 min 12 s` or `2 h 05 min`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '–';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Aligns rows of cells in columns; those whose numbers are in `right` are flush right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}
