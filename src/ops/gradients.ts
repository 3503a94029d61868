// Records the gradients of a loss: it walks from the last op of a program to the first, and each op's rule records the
// gradients of what the op reads (reverse-mode differentiation, Griewank & Walther 2008, chapter 3).
//
// The gradient of a tensor is the sum over the ops that read it. No sum is changed in place: each rule writes its own part
// plus the sum so far to a new tensor, so a gradient may be shared where two tensors have the same one.
import { check } from '../errors.js';
import type { GradientSums, RecordedOp } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { accumulate } from './accumulate.js';

/**
 * Records the gradients of all parameters that the ops so far depend on, into the places that the recorder's options give.
 * @throws PixelCnnError ERR_PROGRAM for a parameter that two ops use, or that none does.
 */
export function recordGradients(r: Recorder): void {
  const gradients = new Gradients(r);
  for (const op of [...r.ops].reverse()) op.backward?.(gradients);
  gradients.checkComplete();
}

/** The gradient of a tensor. `masked` says whether it is 0 already where a ReLU made the tensor 0. */
interface Sum {
  readonly gradient: Tensor;
  readonly masked: boolean;
}

class Gradients implements GradientSums {
  readonly #recorder: Recorder;
  readonly #sums = new Map<Tensor, Sum>();
  /** Results of ops with a rule that depend on a parameter. */
  readonly #needed = new Set<Tensor>();
  readonly #places: ReadonlyMap<string, Tensor>;
  readonly #written = new Set<string>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
    this.#places = recorder.options.gradients ?? new Map();
    for (const op of recorder.ops) if (op.backward !== undefined) this.#addNeeded(op);
  }

  #addNeeded({ fields, result }: RecordedOp): void {
    if (result === undefined) return;
    const depends = (x: unknown) => this.#recorder.isTrained(x as Tensor) || this.#needed.has(x as Tensor);
    if (Object.values(fields).some(depends)) this.#needed.add(result);
  }

  of(result: Tensor): Tensor | undefined {
    const sum = this.#sums.get(result);
    if (sum === undefined || sum.masked || !this.#recorder.isReluOutput(result)) return sum?.gradient;
    // All its parts are gradients of sums, which were passed on as they are, so nothing has masked it yet.
    return accumulate(this.#recorder, `${result.name} gradient`, sum.gradient, null, result);
  }

  add(x: Tensor, record: (sum: Tensor | null, reluOutput: Tensor | null) => Tensor): void {
    if (!this.#needed.has(x)) return;
    const sum = this.#sums.get(x)?.gradient ?? null;
    const reluOutput = this.#recorder.isReluOutput(x) ? x : null;
    // Masking is linear and idempotent, so masking own part + sum is right whether or not the sum was masked.
    this.#sums.set(x, { gradient: record(sum, reluOutput), masked: true });
  }

  pass(x: Tensor, gradient: Tensor): void {
    if (!this.#needed.has(x)) return;
    if (this.#sums.has(x)) {
      this.add(x, (sum, reluOutput) => {
        return accumulate(this.#recorder, `${x.name} gradient`, gradient, sum, reluOutput);
      });
    } else {
      this.#sums.set(x, { gradient, masked: false });
    }
  }

  parameter(name: string): Tensor {
    const place = this.#places.get(name);
    check(place !== undefined, 'ERR_PROGRAM', () => `there is no place for the gradient of '${name}'`);
    check(!this.#written.has(name), 'ERR_PROGRAM', () => {
      return `parameter '${name}' is used twice: gradients of shared parameters are not supported`;
    });
    this.#written.add(name);
    return place;
  }

  /** An optimizer would take a gradient that no op writes from whatever the memory holds. */
  checkComplete(): void {
    const missing = [...this.#places.keys()].filter((name) => !this.#written.has(name));
    check(
      missing.length === 0,
      'ERR_PROGRAM',
      () => `the loss does not depend on the parameters '${missing.join("', '")}'`,
    );
  }
}
