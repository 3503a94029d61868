// Reports what repeatedly goes wrong during a run: at once, then rarely, and once more when it works again.
import type { Terminal } from './terminal.js';

/** Milliseconds until the same trouble is reported again. */
const silence = 600_000;

export class Troubles {
  readonly #terminal: Terminal;
  readonly #reported = new Map<string, { code: string; at: number }>();

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** Reports trouble with `subject`, unless the same `code` was reported for it a short time ago. */
  report(subject: string, code: string, sentence: string): void {
    const reported = this.#reported.get(subject);
    const now = performance.now();
    if (reported?.code === code && now - reported.at < silence) return;
    this.#reported.set(subject, { code, at: now });
    this.#terminal.problem(sentence);
  }

  /** Reports that `subject` works again, if trouble with it was reported. */
  solved(subject: string, sentence: string): void {
    if (this.#reported.delete(subject)) this.#terminal.problem(sentence);
  }
}
