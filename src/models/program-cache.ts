// Keeps compiled programs for reuse. Each use has its program to itself, so that concurrent calls never share one.

interface Disposable {
  dispose(): void;
}

/**
 * Compiles a program for a model. `options` are all that the program depends on besides the model; they are plain values,
 * because a program is reused for equal options.
 */
export type BuildProgram<M, O extends object, P extends Disposable> = (model: M, options: O) => Promise<P>;

/** A program that is taken out of the cache until {@link end} is called. */
export interface ProgramLease<P> {
  readonly program: P;
  /** Says that the work with the program has succeeded, so that it can be used again. */
  keep(): void;
  /** Puts the program back into the cache if {@link keep} was called, and disposes it otherwise. */
  end(): void;
}

/** The idle programs of a model, the one that was used last at the end. */
export class ProgramCache<M> {
  readonly #model: M;
  /** Entries of one build function have programs of the type that it builds. */
  readonly #idle: { build: unknown; options: object; program: Disposable }[] = [];
  readonly #mostIdle: number;
  #closed = false;

  constructor(model: M, mostIdle: number) {
    this.#model = model;
    this.#mostIdle = mostIdle;
  }

  /** Calls `body` with an idle program or a new one, and keeps it for reuse unless `body` throws. */
  async use<O extends object, P extends Disposable, R>(
    build: BuildProgram<M, O, P>,
    options: O,
    body: (program: P) => Promise<R>,
  ): Promise<R> {
    const lease = await this.lease(build, options);
    try {
      const result = await body(lease.program);
      lease.keep();
      return result;
    } finally {
      lease.end();
    }
  }

  /** Takes a program out of the cache or builds one, for a use that does not fit into one function. */
  async lease<O extends object, P extends Disposable>(
    build: BuildProgram<M, O, P>,
    options: O,
  ): Promise<ProgramLease<P>> {
    const at = this.#idle.findLastIndex(
      (entry) => entry.build === build && haveEqualFields(entry.options, options),
    );
    const program = at >= 0 ? (this.#idle.splice(at, 1)[0]!.program as P) : await build(this.#model, options);
    let fit = false;
    return {
      program,
      keep: () => {
        fit = true;
      },
      end: () => {
        if (!fit || this.#closed) {
          program.dispose();
          return;
        }
        this.#idle.push({ build, options, program });
        // The least recently used goes first.
        if (this.#idle.length > this.#mostIdle) this.#idle.shift()!.program.dispose();
      },
    };
  }

  /** Disposes the idle programs now, and those in use when their use ends. */
  close(): void {
    this.#closed = true;
    for (const { program } of this.#idle.splice(0)) program.dispose();
  }
}

function haveEqualFields(a: object, b: object): boolean {
  const [left, right] = [Object.entries(a), new Map(Object.entries(b))];
  return (
    left.length === right.size && left.every(([name, value]) => right.has(name) && right.get(name) === value)
  );
}
