// What goes wrong again and again while a run goes on: told once, then rarely, and when it works again.
import type { Terminal } from './terminal.js';

/** Milliseconds until the same trouble is told again. */
const silence = 600_000;

export class Troubles {
  readonly #terminal: Terminal;
  readonly #told = new Map<string, { code: string; at: number }>();

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Tells of trouble with `what`. Another `code` than before is told at once. */
  report(what: string, code: string, sentence: string): void {
    const told = this.#told.get(what);
    const now = performance.now();
    if (told?.code === code && now - told.at < silence) return;
    this.#told.set(what, { code, at: now });
    this.#terminal.problem(sentence);
  }

  /** `what` works: says so where trouble was told. */
  solved(what: string, sentence: string): void {
    if (this.#told.delete(what)) this.#terminal.problem(sentence);
  }
}
