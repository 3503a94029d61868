// Records the gradients of a loss: it walks from the last op of a program to the first, and each op's rule
// records the gradients of what the op reads (reverse-mode differentiation, Griewank & Walther 2008, chapter 3).
//
// The gradient of a tensor is the sum over the ops that read it. No sum is changed in place: each rule writes its
// own part plus the sum so far to a new tensor, so tensors with equal gradients may share one.
import { check } from '../errors.js';
import type { GradientSums, RecordedOp } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { accumulate } from './accumulate.js';

/**
 * Records the gradients of all parameters that the recorded ops read. They are written to the tensors that the
 * recorder's options give for them.
 * @throws PixelCnnError ERR_PROGRAM for a parameter that two ops use, or that none does.
 */
export function recordGradients(r: Recorder): void {
  const gradients = new Gradients(r);
  for (const op of [...r.ops].reverse()) op.backward?.(gradients);
  gradients.checkComplete();
}

/** The sum of the gradients so far of one tensor. */
interface Sum {
  readonly gradient: Tensor;
  /** Whether a rule's `record` wrote it, and so set it to 0 where a ReLU made the tensor 0. */
  readonly masked: boolean;
}

/** Holds the sums while the walk goes on. */
class Gradients implements GradientSums {
  readonly #recorder: Recorder;
  readonly #sums = new Map<Tensor, Sum>();
  /** The results that depend on a parameter. No others need gradients. */
  readonly #needed = new Set<Tensor>();
  readonly #places: ReadonlyMap<string, Tensor>;
  /** The parameters whose gradient an op writes. */
  readonly #written = new Set<string>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
    this.#places = recorder.options.gradients ?? new Map();
    for (const op of recorder.ops) if (op.backward !== undefined) this.#addNeeded(op);
  }

  #addNeeded({ fields, result }: RecordedOp): void {
    if (result === undefined) return;
    const depends = (x: unknown) =>
      this.#recorder.requiresGradient(x as Tensor) || this.#needed.has(x as Tensor);
    if (Object.values(fields).some(depends)) this.#needed.add(result);
  }

  of(result: Tensor): Tensor | undefined {
    const sum = this.#sums.get(result);
    if (sum === undefined || sum.masked || !this.#recorder.isReluOutput(result)) return sum?.gradient;
    // Only an op that adds this tensor to another has read it. Both have the same gradient, so no op masked it.
    return accumulate(this.#recorder, `${result.name} gradient`, sum.gradient, null, result);
  }

  add(x: Tensor, record: (sum: Tensor | null, reluOutput: Tensor | null) => Tensor): void {
    if (!this.#needed.has(x)) return;
    const sum = this.#sums.get(x)?.gradient ?? null;
    const reluOutput = this.#recorder.isReluOutput(x) ? x : null;
    // Masking is linear and idempotent, so masking own part + sum is right whether or not the sum was masked.
    this.#sums.set(x, { gradient: record(sum, reluOutput), masked: true });
  }

  share(x: Tensor, gradient: Tensor): void {
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

  /** Refuses a program in which no op writes the gradient of some parameter: the optimizer would read garbage. */
  checkComplete(): void {
    const missing = [...this.#places.keys()].filter((name) => !this.#written.has(name));
    check(
      missing.length === 0,
      'ERR_PROGRAM',
      () => `the loss does not depend on the parameters '${missing.join("', '")}'`,
    );
  }
}
